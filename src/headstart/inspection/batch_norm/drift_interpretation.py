"""What a batch norm's drift says, in words: the preprocessing, the domain, the channels, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.inspection.batch_norm.layer_drift import LayerDrift
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck

UNNORMALISED = 3.0  # deviations that the first layer's means are off: no domain does that, values 0 to 255 give 40
TENFOLD = float(np.log(10))  # ln of the first variances' ratio: the softest images we have read 1.8
# median divergence over the layers: images as in training read 0.03 and 0.04, other kinds 0.2 to 0.7 (docs/inside.md)
ALIKE, OTHER = 0.1, 0.2
_UNEVEN = 2.0  # times as much drift in one third of the layers as in another


def diagnosis(layers: Sequence[LayerDrift], images: int, check: PreprocessingCheck | None) -> tuple[str, ...]:
    """Sentences, the most important first; at least one layer."""
    wrong = _input(layers[0], check)
    if wrong:  # what follows from wrong pixels says nothing of the images
        return (*wrong, *_untouched(layers))
    beside = check.interpretation[1:] if check is not None and check.verdict == "fine" else ()
    return (*_domain(layers, images), *beside, *_channels(layers), *_untouched(layers))


def _input(first: LayerDrift, check: PreprocessingCheck | None) -> tuple[str, ...]:
    """What is wrong with the pixels themselves."""
    if check is not None and check.verdict in ("stop", "warning"):
        return check.interpretation
    ratio = float(np.median(first.log_variance))
    if first.typical_shift > UNNORMALISED or ratio > TENFOLD:
        return (
            f"The inputs look un-normalised: the means of {first.layer} are {first.typical_shift:.1f} deviations off, "
            f"its variances {np.exp(ratio):.2g} times what was stored. Prepare images as the weights' card says.",
        )
    if ratio < -TENFOLD:
        return (
            f"The inputs hardly vary: the variances of {first.layer} are {np.exp(ratio):.2g} times what was stored, as "
            "after a division by 255 too many, or with images that are all alike.",
        )
    return ()


def _domain(layers: Sequence[LayerDrift], images: int) -> tuple[str, ...]:
    scores = [layer.score for layer in layers]
    typical, beyond = float(np.median(scores)), sum(layer.score > layer.floor for layer in layers)
    counted = f"{beyond} of {len(layers)} batch norms drift by more than {images} images explain by chance"
    if typical <= ALIKE:
        return (
            f"Your images are much like those it was trained on: a typical divergence of {typical:.2f}; {counted}.",
        )
    other = "of another domain than" if typical > OTHER else "somewhat different from"
    advice = "With fine-tuning try --batch-norm recalibrated, and keep it only where the validation gains."
    return (
        f"Your images are {other} those it was trained on: a typical divergence of {typical:.2f}; {counted}.",
        _where(scores),
        advice if typical > OTHER else "There is little to gain from recalibrated statistics.",
    )


def _where(scores: Sequence[float]) -> str:
    third = max(1, len(scores) // 3)
    early, late = float(np.median(scores[:third])), float(np.median(scores[-third:]))
    both = f"{early:.2f} in the first third of the network, {late:.2f} in the last"
    if early > _UNEVEN * late:
        return f"Most of it is early ({both}): colour, contrast or sharpness, as of small pictures enlarged."
    if late > _UNEVEN * early:
        return f"Most of it is late ({both}): they show other things."
    return f"It is spread over the depth ({both}): they look and show something else."


def _channels(layers: Sequence[LayerDrift]) -> tuple[str, ...]:
    told = {
        "closed on every image": sum(int(layer.dead.sum()) for layer in layers),
        "at the upper end of its activation": sum(int(layer.saturated.sum()) for layer in layers),
        "varying a hundred times less than in training": sum(int(layer.silent.sum()) for layer in layers),
    }
    parts = [f"{count} {words}" for words, count in told.items() if count]
    whole = sum(len(layer.shift) for layer in layers)
    return (f"Of {whole} channels: {', '.join(parts)}.",) if parts else ()


def _untouched(layers: Sequence[LayerDrift]) -> tuple[str, ...]:
    names = [layer.layer for layer in layers if not layer.updated]
    if not names:
        return ()
    return (
        f"The statistics of {len(names)} batch norms were never updated (mean 0, variance 1), {names[0]} among them: "
        "they are folded into other weights, or the network never was in train mode. Recalibrate before you train.",
    )
