"""What each preprocessing variant would mean for a network's training images, and how plausible such images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.inspection.batch_norm.channel_moments import Array
from headstart.inspection.batch_norm.first_batch_norm import FirstBatchNorm, StemResponse, grey_weights
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant

# what photographs are: mean brightness and red − blue of ImageNet are 0.45 and 0.08, of CIFAR-10 0.47 and 0.04; the
# deviation of all values, estimated from five networks with four sets of images (docs/inside.md), is 0.26 to 0.34
BRIGHTNESS, WARMTH, CONTRAST = 0.45, 0.06, 0.29
# how far sets of photographs differ: a tenth of the range, half of what R and B differ, a quarter in contrast
SPREAD = (0.1, 0.05, 0.25)


@dataclass(frozen=True)
class VariantFit:
    """What the training images would have been, had they been preprocessed by a variant.

    Args:
        variant: its name.
        words: the same in a sentence.
        brightness: their mean, [0, 1].
        warmth: their mean red − blue.
        contrast: standard deviation of all their values.
        misfit: distance from photographs, from the user's images, or from what is known of the training images,
            whichever is nearest, in units of SPREAD.
    """

    variant: str
    words: str
    brightness: float
    warmth: float
    contrast: float
    misfit: float


# measurements of the network and of the images on one side, what they are to be explained by on the other
def fit_variants(
    first: FirstBatchNorm, statistics: Array, contrast: Array, variants: Sequence[PreprocessingVariant]
) -> tuple[list[VariantFit], list[Array]]:
    """Each variant's fit, and its misfit in each of B draws.

    Args:
        statistics: B×3, brightness, warmth and contrast of the user's images.
        contrast: B, contrast of the training images on the network's scale.
    """
    references = [np.array([BRIGHTNESS, WARMTH, CONTRAST]), statistics]
    references += [] if first.known is None else [np.array(first.known)]
    fits, misfits = [], []
    for variant in variants:
        colour, back = variant.undo(first.colour), np.linalg.inv(variant.matrix)
        warm = np.array([1.0, 0.0, -1.0]) @ back
        scale = np.array([SPREAD[0], np.hypot(SPREAD[1], np.sqrt(warm @ first.covariance @ warm)), SPREAD[2]])
        contrasts = np.maximum(contrast / variant.gain, 1e-12)
        brightness, warmth = float(colour.mean()), float(colour[0] - colour[2])
        implied = np.stack([np.full_like(contrasts, brightness), np.full_like(contrasts, warmth), contrasts], 1)
        misfits.append(np.min([_distance(implied, other, scale) for other in references], axis=0))
        fits.append(
            VariantFit(
                variant.name,
                variant.words,
                brightness=brightness,
                warmth=warmth,
                contrast=float(contrasts[0]),
                misfit=float(misfits[-1][0]),
            )
        )
    return fits, misfits


def image_statistics(stem: StemResponse, weights: Array) -> Array:
    """Brightness, warmth and contrast of the images themselves, B×3 for B×N weights of the images."""
    mean = weights @ stem.colour
    variance = np.maximum(weights @ stem.colour_square - mean**2, 0.0)
    return np.stack([mean.mean(1), mean[:, 0] - mean[:, 2], np.sqrt(variance.mean(1))], 1)


def contrast_ratio(
    first: FirstBatchNorm, stem: StemResponse, variant: PreprocessingVariant, *, weights: Array
) -> Array:
    """Contrast of the training images over that of these, as the stem's brightness channels have it; B."""
    mean = weights @ stem.inner_mean
    variance = np.maximum(weights @ stem.inner_square - mean**2, 1e-30)
    channels = grey_weights(first, variant, stem)
    halves = -0.5 * np.log(variance / first.inner_variance)
    order = np.argsort(halves, axis=1)
    reached = np.cumsum(channels[order], axis=1) >= 0.5 * channels.sum()
    middle = np.take_along_axis(halves, order, 1)[np.arange(len(halves)), reached.argmax(1)]  # weighted median
    ratio: Array = np.exp(middle)
    return ratio


def _distance(one: Array, other: Array, scale: Array) -> Array:
    """Between brightness, warmth and contrast (B×3) of two sets, in units of how far sets usually differ; B."""
    off = one - other
    off[:, 2] = np.log(one[:, 2]) - np.log(np.maximum(np.broadcast_to(other, one.shape)[:, 2], 1e-12))
    distance: Array = np.linalg.norm(off / scale, axis=1)
    return distance
