"""What the drift of a network's batch norms means: preprocessing, domain, dead channels, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.inspection.batch_norm.layer_drift import LayerDrift
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.wording import counted

UNNORMALISED = 3.0  # deviations that the first layer's means are off: no domain does that, values 0 to 255 give 40
TENFOLD = float(np.log(10))  # ln of the first variances' ratio: the softest images that were measured gave 1.8
# median divergence over the layers: images as in training gave 0.03 and 0.04, other kinds 0.2 to 0.7 (docs/inside.md)
SIMILAR, OTHER = 0.1, 0.2
_UNEVEN = 2.0  # times as much drift in one third of the layers as in another


def interpret_drift(layers: Sequence[LayerDrift], images: int, check: PreprocessingCheck | None) -> tuple[str, ...]:
    """Sentences, the most important first; at least one layer."""
    wrong = _on_input(layers[0], check)
    if wrong:  # conclusions from wrong pixels do not hold for the images
        return (*wrong, *_on_untouched(layers))
    beside = check.interpretation[1:] if check is not None and check.verdict == "fine" else ()
    return (*_on_domain(layers, images), *beside, *_on_channels(layers), *_on_untouched(layers))


def _on_input(first: LayerDrift, check: PreprocessingCheck | None) -> tuple[str, ...]:
    """What is wrong with the pixels themselves."""
    if check is not None and check.verdict in ("stop", "warning"):
        return check.interpretation
    ratio = float(np.median(first.log_variance))
    if first.typical_shift > UNNORMALISED or ratio > TENFOLD:
        return (
            f"The inputs seem un-normalised: the means at {first.layer} are {first.typical_shift:.1f} standard "
            f"deviations off, its variances {np.exp(ratio):.2g} times the stored ones. Prepare images as the card of "
            "the weights says.",
        )
    if ratio < -TENFOLD:
        return (
            f"The inputs hardly vary: the variances at {first.layer} are {np.exp(ratio):.2g} times the stored ones, as "
            "after a second division by 255, or with images that are nearly the same.",
        )
    return ()


def _on_domain(layers: Sequence[LayerDrift], images: int) -> tuple[str, ...]:
    scores = [layer.score for layer in layers]
    typical, beyond = float(np.median(scores)), sum(layer.score > layer.floor for layer in layers)
    numbers = (
        f"median divergence {typical:.2f}; {beyond} of {counted(len(layers), 'batch norm')} drift by more than chance "
        f"explains with {counted(images, 'image')}"
    )
    if typical <= SIMILAR:
        return (f"Your images are similar to the training images of the network: {numbers}.",)
    if typical <= OTHER:
        kind, advice = "somewhat different from", "Recalibrated statistics have little to gain here."
    else:
        kind = "from another domain than"
        advice = "With fine-tuning, try --batch-norm recalibrated, and keep it only if validation accuracy improves."
    return (f"Your images are {kind} the training images of the network: {numbers}.", _on_depth(scores), advice)


def _on_depth(scores: Sequence[float]) -> str:
    third = max(1, len(scores) // 3)
    early, late = float(np.median(scores[:third])), float(np.median(scores[-third:]))
    both = f"{early:.2f} in the first third of the network, {late:.2f} in the last"
    if early > _UNEVEN * late:
        return f"Most drift is in early layers ({both}): colour, contrast or sharpness differ, as in enlarged images."
    if late > _UNEVEN * early:
        return f"Most drift is in late layers ({both}): the images show other objects."
    return f"The drift is spread over the depth ({both}): both low-level features and content differ."


def _on_channels(layers: Sequence[LayerDrift]) -> tuple[str, ...]:
    counts = {
        "are zero on every image": sum(int(layer.dead.sum()) for layer in layers),
        "are at the upper end of their activation": sum(int(layer.saturated.sum()) for layer in layers),
        "vary a hundred times less than in training": sum(int(layer.silent.sum()) for layer in layers),
    }
    found = [f"{count} {words}" for words, count in counts.items() if count]
    channels = sum(len(layer.shift) for layer in layers)
    return (f"Of {counted(channels, 'channel')}, {', '.join(found)}.",) if found else ()


def _on_untouched(layers: Sequence[LayerDrift]) -> tuple[str, ...]:
    names = [layer.layer for layer in layers if not layer.updated]
    if not names:
        return ()
    return (
        f"The statistics of {counted(len(names), 'batch norm')} were never updated (mean 0, variance 1), such as "
        f"{names[0]}: they are folded into other weights, or the network was never in train mode. Recalibrate before "
        "you train.",
    )
