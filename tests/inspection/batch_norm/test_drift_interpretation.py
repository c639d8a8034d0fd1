"""What the drift says in words."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.inspection.batch_norm.drift import batch_norm_drift
from headstart.inspection.batch_norm.drift_interpretation import interpret_drift
from headstart.inspection.batch_norm.layer_drift import LayerDrift
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.inspection.batch_norm.preprocessing_fit import VariantFit
from smooth_images import settled, smooth_images, two_norms


def layer(name: str, divergence: float) -> LayerDrift:
    none = np.zeros(2, dtype=bool)
    return LayerDrift(
        layer=name,
        activation="relu",
        shift=np.zeros(2),
        log_variance=np.zeros(2),
        divergence=np.full(2, divergence),
        shift_floor=0.1,
        floor=0.1,
        dead=np.array([True, False]),
        saturated=none,
        silent=none,
        updated=True,
    )


def test_values_up_to_255_are_called_un_normalised():
    model = settled(smooth_images(50))
    assert "un-normalised" in batch_norm_drift(model, 255 * smooth_images(20).sigmoid()).interpretation[0]


def test_images_that_hardly_vary_are_named():
    model = settled(smooth_images(50))
    assert "hardly vary" in batch_norm_drift(model, smooth_images(20) / 100).interpretation[0]


def test_statistics_that_were_never_updated_are_named():
    interpretation = batch_norm_drift(two_norms(), smooth_images(10)).interpretation
    assert any("never updated" in line and "2 batch norms" in line for line in interpretation)


@pytest.mark.slow
def test_images_as_in_training_are_told_from_another_domain():
    model = settled(smooth_images(2000))
    assert "similar to the training images" in batch_norm_drift(model, smooth_images(50, seed=4)).interpretation[0]
    other = batch_norm_drift(model, 0.6 * smooth_images(50, seed=4) + 0.5).interpretation
    assert "another domain" in other[0]
    assert any("--batch-norm recalibrated" in line for line in other)


def test_the_depth_of_the_drift_is_named():
    early = interpret_drift([layer("a", 1.0), layer("b", 0.3), layer("c", 0.1)], 50, None)
    assert "1.00 in the first third of the network, 0.10 in the last" in early[1]
    assert early[1].startswith("Most drift is in early layers")
    late = interpret_drift([layer("a", 0.1), layer("b", 0.3), layer("c", 1.0)], 50, None)
    assert late[1].startswith("Most drift is in late layers")
    spread = interpret_drift([layer(name, 0.3) for name in "abc"], 50, None)
    assert spread[1].startswith("The drift is spread")
    assert spread[-1] == "Of 6 channels, 3 are zero on every image."


def test_wrong_preprocessing_comes_first_and_alone():
    raw, card = (
        VariantFit(name, "so", 0.5, warmth=0.0, contrast=0.3, misfit=m) for name, m in (("raw", 9), ("card", 1))
    )
    wrong = PreprocessingCheck("stop", layer="a", current=raw, alternative=card)
    assert interpret_drift([layer("a", 1.0)], 5, wrong) == wrong.interpretation
