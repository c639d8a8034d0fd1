"""ServedClassifier: what is refused before it costs anything, and analyses that leave the served network alone."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest

import headstart as hs
from headstart.data.images import BadImage
from headstart.serving.served_classifier import ServedClassifier


def test_an_image_beyond_the_bound_is_refused_before_it_is_decoded(run: hs.Run, photos: Path) -> None:
    image = sorted(photos.rglob("*.png"))[0].read_bytes()
    with pytest.raises(BadImage, match="bound of 100"):
        ServedClassifier(run.classifier, pixels=100).predict(image)


@pytest.mark.slow
def test_an_analysis_leaves_the_network_that_predicts_alone(run: hs.Run, photos: Path) -> None:
    model, image = run.classifier, sorted(photos.rglob("*.png"))[0].read_bytes()
    tensors = [*model.backbone.network.parameters(), *model.backbone.network.buffers()]
    before = [tensor._version for tensor in tensors]
    served = ServedClassifier(model, pixels=10_000_000)

    assert served.explain(image, None).startswith(b"\x89PNG")
    found = served.without_blocks(image, ())

    # a weight that changes, if only for a moment, is seen by other threads, and ends the use of the measured engine
    assert [tensor._version for tensor in tensors] == before
    expected = served.predict(image).probabilities
    assert dict(zip(found.classes, found.without, strict=True)) == pytest.approx(expected, abs=1e-4)


def test_why_no_image_is_called_unfamiliar_is_said(run: hs.Run) -> None:
    known = run.classifier.familiarity
    assert known is not None
    assert known.threshold is None  # the images of the run are too few

    assert ServedClassifier(run.classifier, pixels=100).no_threshold == known.summary
    with_threshold = dataclasses.replace(known, threshold=0.5)
    other = copy.copy(run.classifier)
    object.__setattr__(other, "familiarity", with_threshold)
    assert ServedClassifier(other, pixels=100).no_threshold == ""
