"""Preprocessing check: does the network see its images as those it was trained on? Its first batch norm remembers them.

Up to the first batch norm most networks are linear, so its stored mean tells the mean colour of the training images and
its stored variance their contrast, each in the network's own scale. Every way of preparing images translates that into
another set of images: were they photographs, or like the user's? The way under which they were is the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from headstart.errors import DataError
from headstart.figures.panels import Bars, panels_figure
from headstart.figures.style import BLUE, MUTED, ORANGE
from headstart.inspection.batch_norm.channel_moments import Array, drawn_shares, jeffreys
from headstart.inspection.batch_norm.first_norm import FirstNorm, StemResponse, first_norm_of, look_at
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant, variant_of, variants_of
from headstart.inspection.batch_norm.training_images import (
    APART,
    BRIGHTNESS,
    CONTRAST,
    WARMTH,
    Fit,
    fits_of,
    kept_contrast,
    yours_of,
)
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult, Table

FLOOR = 1.6  # misfit, in units of APART, up to which nothing is said: right ways of true statistics read 1.5 at most
RATIO = 2.0  # by which another way must fit better; where the right one was not best, the best was by 1.2
PLAUSIBLE = 3.0  # misfit up to which the other way explains anything: above it neither does
NOISE = 3.0  # deviations by which the misfits must differ, the images drawn again: three in a thousand by chance
_IMAGES = 64  # that are looked at: more do not change the answer
_SIDE = 160  # px of their middles that are: half the work of 224, and what was taken off is no border to the check


@dataclass(frozen=True)
class PreprocessingCheck(InspectionResult):
    """The verdict on how images are brought to a network.

    Args:
        verdict: `fine`, `warning`, `stop`, or `not checkable`.
        why: for `not checkable`, the reason.
        layer: the first batch norm. images: how many were looked at.
        seen: the way the network sees them now. better: the best of the others, the card's where that fits at all.
        fits: all ways, the best first.
        yours: brightness, warmth and contrast of the images themselves.
        noise: deviation of the difference between the best other way and the present one, images drawn again.
        drift: at that batch norm, median over its channels of Jeffreys' divergence from what is stored.
        floor: 95th percentile of that for sets drawn from the images themselves, against all of them.
    """

    verdict: str
    why: str = ""
    layer: str = ""
    images: int = 0
    seen: Fit | None = None
    better: Fit | None = None
    fits: tuple[Fit, ...] = ()
    yours: tuple[float, float, float] = (0.0, 0.0, 0.0)
    noise: float = 0.0
    drift: float = 0.0
    floor: float = 0.0

    @property
    def stops(self) -> bool:
        """Whether training should not start without a word of the user."""
        return self.verdict == "stop"

    @property
    def title(self) -> str:
        """What was looked at."""
        return "Preprocessing check"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """The verdict in words, and what to do."""
        if self.seen is None:
            return (f"Not checkable: {self.why}.",)
        if self.verdict == "fine":
            fine = f"The network sees images {self.seen.words}, and that fits what it was trained on."
            return (fine, *_beside(self.seen, self.yours))
        told = _told(self.seen)
        if self.verdict == "warning" or self.better is None:
            unsure = "No usual mistake explains it clearly: it may have been trained on images of another kind."
            return (f"Images reach the network {self.seen.words}. {told}", unsure)
        return (
            f"Images reach the network {self.seen.words}, but its first batch norm speaks for images brought to it "
            f"{self.better.words}: that fits {self.seen.misfit / max(self.better.misfit, 0.01):.1f} times better.",
            told,
            "Correct the preprocessing, or the card that names it. If the network was trained on images of that kind, "
            "--accept-preprocessing goes on.",
        )

    @property
    def tables(self) -> tuple[Table, ...]:
        """What the training images would have been under each way, beside the user's."""
        if self.seen is None:
            return ()
        rows = [(fit.way, fit.brightness, fit.warmth, fit.contrast, fit.misfit) for fit in self.fits]
        beside = ("your images", *self.yours, "")
        heads = ("way", "brightness", "red − blue", "contrast", "misfit")
        return (Table("The training images, had they come this way", heads, (*rows, beside), 2),)

    @property
    def description(self) -> str:
        """What the figure shows."""
        if self.seen is None:
            return f"No picture: {self.why}."
        listed = ", ".join(f"{fit.way} {fit.misfit:.1f}" for fit in self.fits)
        return f"Bars of the misfit of each way to bring images to the network: {listed}; now it is {self.seen.way}."

    def figure(self) -> Figure:
        """Misfit of each way as bars; the present one stands out."""
        fits, now = self.fits, self.seen.way if self.seen else ""
        colours = tuple((ORANGE if self.stops else BLUE) if fit.way == now else MUTED for fit in fits)
        names = tuple(f"{fit.way} (now)" if fit.way == now else fit.way for fit in fits)
        shown = tuple(float(np.log10(1 + fit.misfit)) for fit in fits)
        words = f"log₁₀(1 + misfit); up to {np.log10(1 + FLOOR):.2f} nothing is said"
        return panels_figure([Bars("Misfit of each way", names, shown, words, "{:.2f}", colours)])

    def to_dict(self) -> dict[str, object]:
        """All of it as plain values."""
        return {**asdict(self), "fits": [asdict(fit) for fit in self.fits], "yours": list(self.yours)}


def check_preprocessing(
    model: Model, prepared: Tensor, *, pixels: Tensor | None = None, seed: int = 0
) -> PreprocessingCheck:
    """Ask a network's first batch norm whether it sees images as it did when it was trained.

    Only what precedes the first batch norm runs, on 64 of the images at most. It stops only where another way fits
    RATIO times better than the present one and is itself plausible, and the present one is beyond FLOOR and beyond the
    noise. A network without batch norm is not checkable; nor is one whose first batch norm follows something that is
    not linear, or was never updated.

    Args:
        prepared: N×3×S×S uint8, the images after resize and crop.
        pixels: N×3×S×S float, these images as the network really sees them; None: as the model's card says.

    Raises:
        DataError: the images are of another shape, or the pixels are not made of them.

    Source: our own; the drift it starts from is that of Schneider et al. 2020, arXiv:2006.16971.
    """
    subject = inspected_model(model)
    chosen, card = _chosen(prepared, pixels, seed), subject.preprocess
    prepared = middle_of(prepared[chosen])
    if card is None and pixels is None:
        return PreprocessingCheck("not checkable", "nothing says how images are brought to this network")
    ways = variants_of(card)
    seen = ways[0] if pixels is None else variant_of(prepared, middle_of(pixels[chosen]), ways)
    ways = ways if seen in ways else (*ways, seen)
    with subject.eval_mode(), torch.inference_mode():
        first = first_norm_of(subject.network, prepared.shape[-1])
        if isinstance(first, str):
            return PreprocessingCheck("not checkable", first, images=len(prepared))
        first = replace(first, shown=None if subject.backbone is None else subject.backbone.spec.image_statistics)
        return judge(first, look_at(first, seen, prepared, subject.network), seen, ways, seed)


def judge(
    first: FirstNorm, look: StemResponse, seen: PreprocessingVariant, ways: Sequence[PreprocessingVariant], seed: int
) -> PreprocessingCheck:
    """The verdict from what was measured of the stem; `seen` is among the ways."""
    images = len(look.mean)
    shares = np.concatenate([np.full((1, images), 1 / images), drawn_shares(images, seed)])  # the first: as they are
    yours, kept = yours_of(look, shares), kept_contrast(first, look, seen, shares)
    fits, misfits = fits_of(first, yours, kept * yours[:, 2] * seen.gain, ways)
    now = ways.index(seen)
    best = min((i for i in range(len(ways)) if i != now), key=lambda i: fits[i].misfit)
    best = 0 if now and fits[0].misfit <= max(FLOOR, fits[best].misfit) else best  # the card's word counts for more
    noise = float((misfits[now] - misfits[best])[1:].std())
    drift, floor = _drift(first, look, shares)
    found = PreprocessingCheck(
        "fine",
        layer=first.layer,
        images=images,
        seen=fits[now],
        better=fits[best],
        fits=tuple(sorted(fits, key=lambda fit: fit.misfit)),
        yours=(float(yours[0, 0]), float(yours[0, 1]), float(yours[0, 2])),
        noise=noise,
        drift=drift,
        floor=floor,
    )
    if fits[now].misfit <= FLOOR:
        return found
    clear = fits[now].misfit - fits[best].misfit > NOISE * noise and fits[now].misfit > RATIO * fits[best].misfit
    return replace(found, verdict="stop" if clear and fits[best].misfit <= PLAUSIBLE and drift > floor else "warning")


def _drift(first: FirstNorm, look: StemResponse, shares: Array) -> tuple[float, float]:
    """Median divergence over the channels from what is stored, and the 95th percentile of what it is by chance."""
    means = shares @ look.mean
    variances = np.maximum(shares @ look.square - means**2, 0.0) + first.eps
    by_chance = np.median(jeffreys((means[1:], variances[1:]), (means[0], variances[0])), axis=1)
    drift = np.median(jeffreys((means[0], variances[0]), (first.mean, first.variance)))
    return float(drift), float(np.quantile(by_chance, 0.95))


def _told(fit: Fit) -> str:
    """What a way would mean for the training images, in words."""
    return (
        f"Were that right, the images it was trained on had a mean brightness of {fit.brightness:.2f}, a red − blue of "
        f"{fit.warmth:+.2f} and a contrast of {fit.contrast:.2f}; photographs have about {BRIGHTNESS}, {WARMTH:+} and "
        f"{CONTRAST}."
    )


def _beside(fit: Fit, yours: tuple[float, float, float]) -> tuple[str, ...]:
    """How the images differ from those it was trained on, where they do so more than sets of photographs do."""
    light, warm, contrast = yours
    told = []
    if abs(light - fit.brightness) > 2 * APART[0]:
        told.append(f"{'brighter' if light > fit.brightness else 'darker'} ({light:.2f} against {fit.brightness:.2f})")
    if abs(warm - fit.warmth) > 2 * APART[1]:
        told.append(f"{'redder' if warm > fit.warmth else 'bluer'} (red − blue {warm:+.2f} against {fit.warmth:+.2f})")
    if abs(np.log(max(contrast, 1e-12) / fit.contrast)) > 2 * APART[2]:
        word = "richer" if contrast > fit.contrast else "poorer"
        told.append(f"{word} in contrast ({contrast:.2f} against {fit.contrast:.2f})")
    return (f"Your images are {', '.join(told)} than those it was trained on; that is no mistake.",) * bool(told)


def _chosen(prepared: Tensor, pixels: Tensor | None, seed: int) -> Tensor:
    """Places of the images that are looked at, drawn from all."""
    fits = pixels is None or pixels.shape == prepared.shape
    if prepared.ndim != 4 or prepared.shape[1] != 3 or prepared.dtype != torch.uint8 or len(prepared) < 2 or not fits:
        found = f"{tuple(prepared.shape)} {prepared.dtype}" + ("" if pixels is None else f" and {tuple(pixels.shape)}")
        raise DataError(expected="prepared images N×3×S×S uint8, at least two", found=found, where="prepared")
    draw = torch.Generator().manual_seed(seed)
    return torch.randperm(len(prepared), generator=draw)[:_IMAGES].sort().values


def middle_of(images: Tensor) -> Tensor:
    """The part of images N×3×S×S that is looked at."""
    top, left = (max(0, (side - _SIDE) // 2) for side in images.shape[2:])
    return images[:, :, top : top + _SIDE, left : left + _SIDE]
