"""The first batch norm of a network, and what it remembers of the training images: their mean colour and contrast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from headstart.inspection.batch_norm.channel_moments import (
    Array,
    has_statistics,
    moments_of,
    never_updated,
    run_until,
    stored,
)
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant

_LINEAR = 1e-3  # of the largest response: float32 sums of 7×7×3 products are off by 1e-6
_DULL = 0.01  # of the strongest channel's response to grey: such a channel tells nothing about contrast
_BATCH = 16  # the widest first maps, 64×112×112, then take 50 MB


@dataclass(frozen=True, eq=False)
class FirstNorm:
    """A batch norm behind a linear stem: mean input = response · mean colour + rest.

    Args:
        layer: its path.
        mean, variance: C, as stored, epsilon added to the variance.
        response: C×3, to the network's three channels. rest: C, to black (zero) images.
        colour: 3, mean colour of the training images on the network's own scale, by least squares from `mean`.
        unsure: 3×3, covariance of that, from what the fit leaves over.
        shown: what is known of the training images, as in a backbone's Row; None: nothing.
        eps: of the batch norm. inner: C, `variance` without epsilon and without that of an even image of `colour`.
    """

    layer: str
    mean: Array
    variance: Array
    response: Array
    rest: Array
    colour: Array
    unsure: Array
    eps: float
    inner: Array
    shown: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class StemResponse:
    """N images as they enter the first batch norm, N×C, and as they are, N×3 with values in [0, 1].

    Args:
        mean, square: mean and mean square of what enters.
        inner_mean, inner_square: the same of what is left without that of an even image of the mean colour: so the
            padded borders, which are edges even there, do not count as contrast.
        colour, colour_square: mean and mean square of the images' values.
    """

    mean: Array
    square: Array
    inner_mean: Array
    inner_square: Array
    colour: Array
    colour_square: Array


@torch.no_grad()
def first_norm_of(network: nn.Module, side: int) -> FirstNorm | str:
    """The first batch norm that runs on images of a side, or in words why it cannot be asked."""
    norms = {name: module for name, module in network.named_modules() if has_statistics(module)}
    if not norms:
        return "the network has no batch norm that keeps statistics"
    probes = torch.zeros(7, 3, side, side, device=next(network.parameters()).device)
    for channel in range(3):
        probes[1 + channel, channel] = 1.0
    draw = torch.Generator().manual_seed(0)
    probes[4:6] = torch.randn(2, 3, side, side, generator=draw).to(probes)
    probes[6] = probes[4] + probes[5]
    reached = run_until(network, norms, probes)
    if reached is None:
        return "none of its batch norms runs"
    layer, maps = reached
    if never_updated(norms[layer]):
        return f"the statistics of {layer} were never updated (mean 0, variance 1)"
    off = maps[6] - (maps[4] + maps[5] - maps[0])
    if float(off.abs().max()) > _LINEAR * float(maps[4:].abs().max()):
        return f"what comes before the first batch norm ({layer}) is not linear"
    found = _remembered(layer, norms[layer], moments_of(maps[:4])[0].cpu().numpy())
    return replace(found, inner=np.maximum(found.inner - _even_variance(found, network, side), 0.1 * found.inner))


def look_at(
    first: FirstNorm, way: PreprocessingVariant, prepared: Tensor, network: nn.Module, around: Array | None = None
) -> StemResponse:
    """Show prepared images to the stem, brought to it in some way.

    Args:
        around: 3, R, G, B in [0, 1] of the even image that is taken off; None: the mean of these images. It must be
            given where several looks are to be joined.
    """
    values = prepared.flatten(2).float() / 255  # N×3×P
    colour, colour_square = (part.cpu().numpy() for part in moments_of(values))
    device = next(network.parameters()).device
    middle = colour.mean(0) if around is None else around
    even = _even(way.matrix @ middle + way.shift, prepared.shape[-1], device)
    norm = {first.layer: network.get_submodule(first.layer)}
    plain = _enter(network, norm, even)
    parts: list[list[Tensor]] = []
    for batch in torch.split(prepared, _BATCH):
        maps = _enter(network, norm, way.apply(batch).to(device))
        parts.append([*moments_of(maps), *moments_of(maps - plain)])
    mean, square, inner_mean, inner_square = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
    return StemResponse(mean, square, inner_mean, inner_square, colour, colour_square)


def grey_weights(first: FirstNorm, way: PreprocessingVariant, look: StemResponse) -> Array:
    """How much of each channel's variance the brightness of the images explains, squared; C in [0, 1].

    Channels that pass brightness on as it is tell contrast; edges depend on how sharp the images are.
    """
    variance = np.maximum(look.inner_square.mean(0) - look.inner_mean.mean(0) ** 2, 1e-30)
    grey = first.response @ way.matrix.sum(1)
    spread = (look.colour_square.mean(0) - look.colour.mean(0) ** 2).mean()
    explained: Array = np.minimum(1.0, grey**2 * spread / variance) ** 2
    return np.where(np.abs(grey) < _DULL * np.abs(grey).max(), 0.0, explained)


def _remembered(layer: str, norm: nn.Module, responses: Array) -> FirstNorm:
    """Least squares for the mean colour, each channel by its own deviation; responses are 4×C: black, then R, G, B."""
    mean, variance = stored(norm)
    rest, response = responses[0], (responses[1:] - responses[0]).T
    scale = 1 / np.sqrt(variance)
    design, target = response * scale[:, np.newaxis], (mean - rest) * scale
    colour, _, _, _ = np.linalg.lstsq(design, target, rcond=None)
    left = float(np.square(design @ colour - target).sum()) / max(1, len(target) - 3)
    unsure = left * np.linalg.pinv(design.T @ design)
    eps = float(getattr(norm, "eps", 0.0))
    return FirstNorm(layer, mean, variance, response, rest, colour, unsure, eps, np.maximum(variance - eps, 1e-30))


def _even_variance(first: FirstNorm, network: nn.Module, side: int) -> Array:
    """Variance C over the places of an even image in the colour of the training images: padded borders are edges."""
    device = next(network.parameters()).device
    norm = {first.layer: network.get_submodule(first.layer)}
    mean, square = moments_of(_enter(network, norm, _even(first.colour, side, device)))
    variance: Array = (square - mean.square())[0].cpu().numpy()
    return variance


def _even(colour: Array, side: int, device: torch.device) -> Tensor:
    """One image 1×3×S×S of one colour."""
    return torch.from_numpy(colour).float().to(device).view(1, 3, 1, 1).expand(1, 3, side, side)


def _enter(network: nn.Module, norm: dict[str, nn.Module], pixels: Tensor) -> Tensor:
    """What enters a batch norm that is known to run."""
    reached = run_until(network, norm, pixels)
    assert reached is not None  # first_norm_of saw it run
    return reached[1]
