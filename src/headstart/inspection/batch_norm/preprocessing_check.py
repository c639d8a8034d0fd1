"""Preprocessing check: are images preprocessed as they were in training? The first batch norm shows it.

Up to the first batch norm most networks are linear, so its stored mean determines the mean colour of the training
images and its stored variance their contrast, each on the network's own scale. Every preprocessing variant translates
that into different images: are they photographs, or like the user's? The variant under which they are is the correct
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from headstart.errors import DataError
from headstart.figures.panels import Bars, panels_figure
from headstart.figures.style import BLUE, MUTED, ORANGE
from headstart.inspection.batch_norm.channel_moments import Array, bootstrap_weights, jeffreys_divergence
from headstart.inspection.batch_norm.first_batch_norm import (
    FirstBatchNorm,
    StemResponse,
    first_batch_norm_of,
    stem_response,
)
from headstart.inspection.batch_norm.preprocessing_fit import (
    BRIGHTNESS,
    CONTRAST,
    SPREAD,
    WARMTH,
    VariantFit,
    contrast_ratio,
    fit_variants,
    image_statistics,
)
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant, variant_of, variants_of
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.wording import with_sign

# misfit, in units of SPREAD, up to which the check is silent: correct variants of true statistics have 1.5 at most
FLOOR = 1.6
RATIO = 2.0  # by which another variant must fit better; where the correct one was not best, the best was by 1.2
PLAUSIBLE = 3.0  # misfit up to which the other variant explains anything: above it neither does
NOISE = 3.0  # standard deviations by which the misfits must differ under resampling: three in a thousand by chance
_IMAGES = 64  # more do not change the result
_SIDE = 160  # px of the centre crop: half the work of 224, and the border that is cut off is no padding to the check


@dataclass(frozen=True)
class PreprocessingCheck(InspectionResult):
    """The verdict on how images are preprocessed for a network.

    Args:
        verdict: `fine`, `warning`, `stop`, or `not checkable`.
        reason: why it is not checkable.
        layer: the first batch norm.
        images: how many were used.
        current: the variant that is applied now.
        alternative: the best of the others, the card's where that fits at all.
        fits: all variants, the best first.
        statistics: brightness, warmth and contrast of the images themselves.
        noise: standard deviation of the misfit's difference between alternative and current, images resampled.
        drift: at that batch norm, median over its channels of Jeffreys' divergence from what is stored.
        floor: 95th percentile of that for bootstrap samples of the images themselves, against all of them.
    """

    verdict: str
    reason: str = ""
    layer: str = ""
    images: int = 0
    current: VariantFit | None = None
    alternative: VariantFit | None = None
    fits: tuple[VariantFit, ...] = ()
    statistics: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: float = 0.0
    drift: float = 0.0
    floor: float = 0.0

    @property
    def stops(self) -> bool:
        """Whether training must not start unless the user accepts the preprocessing."""
        return self.verdict == "stop"

    @property
    def title(self) -> str:
        """Of the page's section."""
        return "Preprocessing check"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """The verdict in words, and what to do."""
        if self.current is None:
            return (f"Not checkable: {self.reason}.",)
        if self.verdict == "fine":
            fine = f"Images reach the network {self.current.words}, which matches its training."
            return (fine, *_on_difference(self.current, self.statistics))
        implied = _on_implied_images(self.current)
        if self.verdict == "warning" or self.alternative is None:
            return (
                f"Images reach the network {self.current.words}. {implied}",
                "No usual mistake explains this clearly: the network may have been trained on other kinds of images.",
            )
        ratio = self.current.misfit / max(self.alternative.misfit, 0.01)
        return (
            f"Images reach the network {self.current.words}, but the statistics of its first batch norm fit images "
            f"that reach it {self.alternative.words} {ratio:.1f} times better.",
            implied,
            "Correct the preprocessing, or the card that describes it. If the network was trained on such images, "
            "continue with --accept-preprocessing.",
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """What the training images would have been under each variant, beside the user's."""
        if self.current is None:
            return ()
        rows = [(fit.variant, fit.brightness, fit.warmth, fit.contrast, fit.misfit) for fit in self.fits]
        columns = ("variant", "brightness", "red − blue", "contrast", "misfit")
        own = ("your images", *self.statistics, "")
        return (Table("Implied training images of each preprocessing variant", columns, (*rows, own), 2),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        if self.current is None:
            return f"No figure: {self.reason}."
        bars = ", ".join(f"{fit.variant} {fit.misfit:.1f}" for fit in self.fits)
        return f"Bars of the misfit of each preprocessing variant: {bars}; the current one is {self.current.variant}."

    def figure(self) -> Figure:
        """Misfit of each variant as bars; the current one stands out."""
        fits, now = self.fits, self.current.variant if self.current else ""
        colors = tuple((ORANGE if self.stops else BLUE) if fit.variant == now else MUTED for fit in fits)
        names = tuple(f"{fit.variant} (current)" if fit.variant == now else fit.variant for fit in fits)
        values = tuple(float(np.log10(1 + fit.misfit)) for fit in fits)
        axis = f"log₁₀(1 + misfit); up to {np.log10(1 + FLOOR):.2f} it is fine"
        bars = Bars("Misfit of each variant", names, values, x_label=axis, form="{:.2f}", colors=colors)
        return panels_figure([bars])


def check_preprocessing(
    model: Model, prepared: Tensor, *, pixels: Tensor | None = None, seed: int = 0
) -> PreprocessingCheck:
    """Check with a network's first batch norm whether images are preprocessed as they were in its training.

    Only what precedes the first batch norm runs, on 64 of the images at most. The verdict is `stop` only where another
    variant fits RATIO times better than the current one and is itself plausible, and the current one is beyond FLOOR
    and beyond the noise. A network without batch norm is not checkable; nor is one whose first batch norm was never
    updated or follows something that is not linear.

    Args:
        prepared: N×3×S×S uint8, the images after resize and crop.
        pixels: N×3×S×S float, these images as the network really sees them; None: as the model's card says.

    Raises:
        DataError: the images are of another shape, or the pixels are not made of them.

    Source: our own; the drift it starts from is that of Schneider et al. 2020, arXiv:2006.16971.
    """
    inspected = inspected_model(model)
    chosen, card = _sample(prepared, pixels, seed), inspected.preprocess
    prepared = centre_crop(prepared[chosen])
    if card is None and pixels is None:
        return PreprocessingCheck("not checkable", "the preprocessing of this network is unknown")
    variants = variants_of(card)
    current = variants[0] if pixels is None else variant_of(prepared, centre_crop(pixels[chosen]), variants)
    variants = variants if current in variants else (*variants, current)
    with inspected.eval_mode(), torch.inference_mode():
        first = first_batch_norm_of(inspected.network, prepared.shape[-1])
        if isinstance(first, str):
            return PreprocessingCheck("not checkable", first, images=len(prepared))
        first = replace(first, known=None if inspected.backbone is None else inspected.backbone.spec.image_statistics)
        stem = stem_response(first, current, prepared, network=inspected.network)
        return judge(first, stem, current=current, variants=variants, seed=seed)


def judge(
    first: FirstBatchNorm,
    stem: StemResponse,
    *,
    current: PreprocessingVariant,
    variants: Sequence[PreprocessingVariant],
    seed: int,
) -> PreprocessingCheck:
    """The verdict from what was measured of the stem; `current` is among the variants."""
    images = len(stem.mean)
    weights = np.concatenate([np.full((1, images), 1 / images), bootstrap_weights(images, seed)])  # first: as they are
    statistics = image_statistics(stem, weights)
    contrast = contrast_ratio(first, stem, current, weights=weights) * statistics[:, 2] * current.gain
    fits, misfits = fit_variants(first, statistics, contrast, variants)
    now = variants.index(current)
    best = min((i for i in range(len(variants)) if i != now), key=lambda i: fits[i].misfit)
    if now and fits[0].misfit <= max(FLOOR, fits[best].misfit):
        best = 0  # the card is the likelier alternative
    noise = float((misfits[now] - misfits[best])[1:].std())
    drift, floor = _drift(first, stem, weights)
    check = PreprocessingCheck(
        "fine",
        layer=first.layer,
        images=images,
        current=fits[now],
        alternative=fits[best],
        fits=tuple(sorted(fits, key=lambda fit: fit.misfit)),
        statistics=(float(statistics[0, 0]), float(statistics[0, 1]), float(statistics[0, 2])),
        noise=noise,
        drift=drift,
        floor=floor,
    )
    if fits[now].misfit <= FLOOR:
        return check
    clear = fits[now].misfit - fits[best].misfit > NOISE * noise and fits[now].misfit > RATIO * fits[best].misfit
    return replace(check, verdict="stop" if clear and fits[best].misfit <= PLAUSIBLE and drift > floor else "warning")


def _drift(first: FirstBatchNorm, stem: StemResponse, weights: Array) -> tuple[float, float]:
    """Median divergence over the channels from what is stored, and the 95th percentile of what it is by chance."""
    means = weights @ stem.mean
    variances = np.maximum(weights @ stem.square - means**2, 0.0) + first.eps
    by_chance = np.median(jeffreys_divergence((means[1:], variances[1:]), (means[0], variances[0])), axis=1)
    drift = np.median(jeffreys_divergence((means[0], variances[0]), (first.mean, first.variance)))
    return float(drift), float(np.quantile(by_chance, 0.95))


def _on_implied_images(fit: VariantFit) -> str:
    """What a variant would mean for the training images, in words."""
    return (
        f"If that were correct, the training images would have had a mean brightness of {fit.brightness:.2f}, a "
        f"red − blue of {with_sign(fit.warmth, 2)} and a contrast of {fit.contrast:.2f}; photographs have about "
        f"{BRIGHTNESS}, {WARMTH:+} and {CONTRAST}."
    )


def _on_difference(fit: VariantFit, statistics: tuple[float, float, float]) -> tuple[str, ...]:
    """How the images differ from those of the training, where they do so more than sets of photographs do."""
    brightness, warmth, contrast = statistics
    found = []
    if abs(brightness - fit.brightness) > 2 * SPREAD[0]:
        word = "brighter" if brightness > fit.brightness else "darker"
        found.append(f"{word} ({brightness:.2f} against {fit.brightness:.2f})")
    if abs(warmth - fit.warmth) > 2 * SPREAD[1]:
        word = "redder" if warmth > fit.warmth else "bluer"
        found.append(f"{word} (red − blue {with_sign(warmth, 2)} against {with_sign(fit.warmth, 2)})")
    if abs(np.log(max(contrast, 1e-12) / fit.contrast)) > 2 * SPREAD[2]:
        word = "higher" if contrast > fit.contrast else "lower"
        found.append(f"{word} in contrast ({contrast:.2f} against {fit.contrast:.2f})")
    return (f"Your images are {', '.join(found)} than the training images; that is not an error.",) * bool(found)


def _sample(prepared: Tensor, pixels: Tensor | None, seed: int) -> Tensor:
    """Indices of the images that are used, drawn from all."""
    fits = pixels is None or pixels.shape == prepared.shape
    if prepared.ndim != 4 or prepared.shape[1] != 3 or prepared.dtype != torch.uint8 or len(prepared) < 2 or not fits:
        found = f"{tuple(prepared.shape)} {prepared.dtype}" + ("" if pixels is None else f" and {tuple(pixels.shape)}")
        raise DataError(expected="prepared images N×3×S×S uint8, at least two", found=found, where="prepared")
    draw = torch.Generator().manual_seed(seed)
    return torch.randperm(len(prepared), generator=draw)[:_IMAGES].sort().values


def centre_crop(images: Tensor) -> Tensor:
    """The crop of images N×3×S×S that the check uses."""
    top, left = (max(0, (side - _SIDE) // 2) for side in images.shape[2:])
    return images[:, :, top : top + _SIDE, left : left + _SIDE]
