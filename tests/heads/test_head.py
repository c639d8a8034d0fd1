"""Probabilities of a head, against softmax written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.heads.head import Head
from made_features import make_view


def a_head() -> Head:
    rng = np.random.default_rng(0)
    return Head(
        kind="ridge", stages=("early", "late"), weight=rng.normal(size=(8, 3)), bias=rng.normal(size=3), temperature=0.5
    )


def test_probabilities_are_the_softmax_of_scores_over_temperature() -> None:
    head, x = a_head(), np.random.default_rng(1).normal(size=(5, 8))

    expected = np.exp((x @ head.weight + head.bias) / 0.5)
    np.testing.assert_allclose(head.probabilities(x), expected / expected.sum(axis=1, keepdims=True))


def test_stored_features_are_scaled_unless_the_head_takes_them_raw() -> None:
    head, (view, _) = a_head(), make_view(6, 8)
    raw = replace(view, unit=False).array()

    np.testing.assert_allclose(head.probabilities_of(view), head.probabilities(view.array()))
    np.testing.assert_allclose(replace(head, unit=False).probabilities_of(view), head.probabilities(raw))
    np.testing.assert_allclose(replace(head, flip_tta=True).probabilities_of(view), head.probabilities(raw))


def test_no_images_give_no_probabilities() -> None:
    view, _ = make_view(6, 8)

    assert a_head().probabilities_of(view.take(np.array([], dtype=np.int64))).shape == (0, 3)
