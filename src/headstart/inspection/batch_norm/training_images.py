"""What a network's training images would have been, had they come to it in this way or that, and how likely that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.inspection.batch_norm.channel_moments import Array
from headstart.inspection.batch_norm.first_norm import FirstNorm, StemResponse, grey_weights
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant

# what photographs are: mean brightness and red − blue of ImageNet are 0.45 and 0.08, of CIFAR-10 0.47 and 0.04; the
# deviation of all values, read out of five networks through four sets of images (docs/inside.md), is 0.26 to 0.34
BRIGHTNESS, WARMTH, CONTRAST = 0.45, 0.06, 0.29
# how far sets of photographs stand apart: a tenth of the range, half of what R and B differ, a quarter in contrast
APART = (0.1, 0.05, 0.25)


@dataclass(frozen=True)
class Fit:
    """What the training images would have been, were this the way they were brought to the network.

    Args:
        way: its name. words: the same in a sentence.
        brightness: their mean, [0, 1]. warmth: their mean red − blue. contrast: deviation of all their values.
        misfit: distance from photographs, from the user's images, or from what is known of the training images,
            whichever is nearest, in units of APART.
    """

    way: str
    words: str
    brightness: float
    warmth: float
    contrast: float
    misfit: float


def fits_of(
    first: FirstNorm, yours: Array, spread: Array, ways: Sequence[PreprocessingVariant]
) -> tuple[list[Fit], list[Array]]:
    """Each way's fit, and its misfit in each of B draws.

    Args:
        yours: B×3, brightness, warmth and contrast of the images. spread: B, contrast of the training images on the
            network's scale.
    """
    known = [np.array([BRIGHTNESS, WARMTH, CONTRAST]), yours] + ([] if first.shown is None else [np.array(first.shown)])
    fits, misfits = [], []
    for way in ways:
        colour, back = way.undo(first.colour), np.linalg.inv(way.matrix)
        warm = np.array([1.0, 0.0, -1.0]) @ back
        apart = np.array([APART[0], np.hypot(APART[1], np.sqrt(warm @ first.unsure @ warm)), APART[2]])
        contrast = np.maximum(spread / way.gain, 1e-12)
        light, warmth = float(colour.mean()), float(colour[0] - colour[2])
        implied = np.stack([np.full_like(contrast, light), np.full_like(contrast, warmth), contrast], 1)
        misfits.append(np.min([_distance(implied, other, apart) for other in known], axis=0))
        fits.append(Fit(way.name, way.words, light, warmth, float(contrast[0]), float(misfits[-1][0])))
    return fits, misfits


def _distance(one: Array, other: Array, apart: Array) -> Array:
    """Between brightness, warmth and contrast (B×3) of two sets, in units of how far sets usually are apart; B."""
    off = one - other
    off[:, 2] = np.log(one[:, 2]) - np.log(np.maximum(np.broadcast_to(other, one.shape)[:, 2], 1e-12))
    distance: Array = np.linalg.norm(off / apart, axis=1)
    return distance


def yours_of(look: StemResponse, shares: Array) -> Array:
    """Brightness, warmth and contrast of the images themselves, B×3."""
    mean = shares @ look.colour
    variance = np.maximum(shares @ look.colour_square - mean**2, 0.0)
    return np.stack([mean.mean(1), mean[:, 0] - mean[:, 2], np.sqrt(variance.mean(1))], 1)


def kept_contrast(first: FirstNorm, look: StemResponse, seen: PreprocessingVariant, shares: Array) -> Array:
    """Contrast of the training images over that of these, as the stem's brightness channels have it; B."""
    mean = shares @ look.inner_mean
    variance = np.maximum(shares @ look.inner_square - mean**2, 1e-30)
    weights = grey_weights(first, seen, look)
    halves = -0.5 * np.log(variance / first.inner)
    order = np.argsort(halves, axis=1)
    reached = np.cumsum(weights[order], axis=1) >= 0.5 * weights.sum()
    middle = np.take_along_axis(halves, order, 1)[np.arange(len(halves)), reached.argmax(1)]  # weighted median
    kept: Array = np.exp(middle)
    return kept
