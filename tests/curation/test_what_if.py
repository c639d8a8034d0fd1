"""What a decision would change: counts, accuracy of the other images, and the head itself."""

from __future__ import annotations

import numpy as np

from headstart.curation.what_if import what_if
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.revised_ridge import RevisableRidge
from headstart.heads.ridge import solve_ridge
from made_features import make_view


def test_changes_are_counted_on_the_images_that_no_decision_is_about() -> None:
    view, true = make_view(80, 16)
    labels = true.copy()
    labels[:6] = (true[:6] + 1) % 3
    path = solve_ridge(data := LabelledFeatures.of(view, labels, 3))
    kept = np.ones(80, dtype=bool)
    kept[5] = False
    after = labels.copy()
    after[:5] = true[:5]
    names = [f"{i}.png" for i in range(80)]
    found = what_if(RevisableRidge(data, path.lambda_), after, kept, names=names)

    refit = solve_ridge(LabelledFeatures.of(view.take(np.flatnonzero(kept)), after[kept], 3))
    assert (found.relabelled, found.dropped) == (5, 1)
    assert found.before is not None
    assert found.after is not None
    assert found.before.n == found.after.n == 74
    before = (path.held_scores.argmax(1) == labels)[6:]
    np.testing.assert_allclose(found.before.value, before.mean())
    if refit.lambda_ == path.lambda_:
        np.testing.assert_allclose(found.weight, refit.weight, atol=1e-9)
    assert set(found.changed) <= set(names[6:])
    assert "5 relabelled and 1 left out" in str(found)
    assert "weight" not in found.to_dict()


def test_without_any_decision_nothing_changes() -> None:
    view, labels = make_view(40, 8)
    ridge = RevisableRidge(LabelledFeatures.of(view, labels, 3), 1.0)
    found = what_if(ridge, labels, np.ones(40, dtype=bool), names=[str(i) for i in range(40)])
    assert found.before == found.after
    assert found.changed == ()
