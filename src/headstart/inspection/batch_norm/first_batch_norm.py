"""The first batch norm of a network, and what it says of the training images: their mean colour and their contrast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from headstart.inspection.batch_norm.channel_moments import (
    Array,
    epsilon_of,
    first_norm_input,
    has_statistics,
    moments_of,
    never_updated,
    stored_statistics,
)
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant

_LINEAR = 1e-3  # of the largest response: float32 sums of 7×7×3 products are off by 1e-6
_DULL = 0.01  # of the strongest channel's response to grey: such a channel says nothing about contrast
_BATCH = 16  # the widest first maps, 64×112×112, then take 50 MB


@dataclass(frozen=True, eq=False)
class FirstBatchNorm:
    """A batch norm behind a linear stem: mean input = response · mean colour + black.

    Args:
        layer: its path.
        mean, variance: C, as stored, epsilon added to the variance.
        response: C×3, to the network's three channels.
        black: C, the input for black (zero) images.
        colour: 3, mean colour of the training images on the network's own scale, by least squares from `mean`.
        covariance: 3×3, of that colour, from the residuals of the fit.
        eps: of the batch norm.
        inner_variance: C, `variance` without epsilon and without that of a uniform image of `colour`.
        known: brightness, red − blue and contrast of the training images, as in a backbone's spec; None: unknown.
    """

    layer: str
    mean: Array
    variance: Array
    response: Array
    black: Array
    colour: Array
    covariance: Array
    eps: float
    inner_variance: Array
    known: tuple[float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class StemResponse:
    """N images as they enter the first batch norm, N×C, and as they are, N×3 with values in [0, 1].

    Args:
        mean, square: mean and mean square of what enters.
        inner_mean, inner_square: the same less a uniform image of the mean colour: so padded borders, which are edges
            even there, do not count as contrast.
        colour, colour_square: mean and mean square of the images' values.
    """

    mean: Array
    square: Array
    inner_mean: Array
    inner_square: Array
    colour: Array
    colour_square: Array


@torch.no_grad()
def first_batch_norm_of(network: nn.Module, side: int) -> FirstBatchNorm | str:
    """The first batch norm that runs on images of a side, or in words why it cannot be used."""
    norms = {name: module for name, module in network.named_modules() if has_statistics(module)}
    if not norms:
        return "the network has no batch norm that keeps statistics"
    # black, red, green, blue, two of noise, the sum of these two
    probes = torch.zeros(7, 3, side, side, device=next(network.parameters()).device)
    for channel in range(3):
        probes[1 + channel, channel] = 1.0
    draw = torch.Generator().manual_seed(0)
    probes[4:6] = torch.randn(2, 3, side, side, generator=draw).to(probes)
    probes[6] = probes[4] + probes[5]
    reached = first_norm_input(network, norms, probes)
    if reached is None:
        return "none of its batch norms runs"
    layer, maps = reached
    if never_updated(norms[layer]):
        return f"the statistics of {layer} were never updated (mean 0, variance 1)"
    off = maps[6] - (maps[4] + maps[5] - maps[0])
    if float(off.abs().max()) > _LINEAR * float(maps[4:].abs().max()):
        return f"what comes before the first batch norm ({layer}) is not linear"
    found = _fitted(layer, norms[layer], moments_of(maps[:4])[0].cpu().numpy())
    inner = np.maximum(found.inner_variance - _uniform_variance(found, network, side), 0.1 * found.inner_variance)
    return replace(found, inner_variance=inner)


def stem_response(
    first: FirstBatchNorm,
    variant: PreprocessingVariant,
    prepared: Tensor,
    *,
    network: nn.Module,
    around: Array | None = None,
) -> StemResponse:
    """Run the stem on prepared images, preprocessed by a variant.

    Args:
        around: 3, R, G, B in [0, 1] of the uniform image that is subtracted; None: the mean of these images. It must be
            given where responses to several batches are joined.
    """
    values = prepared.flatten(2).float() / 255  # N×3×P
    colour, colour_square = (moment.cpu().numpy() for moment in moments_of(values))
    device = next(network.parameters()).device
    middle = colour.mean(0) if around is None else around
    uniform = _uniform(variant.matrix @ middle + variant.shift, prepared.shape[-1], device)
    norm = {first.layer: network.get_submodule(first.layer)}
    plain = _norm_input(network, norm, uniform)
    moments: list[list[Tensor]] = []
    for batch in torch.split(prepared, _BATCH):
        maps = _norm_input(network, norm, variant.apply(batch).to(device))
        moments.append([*moments_of(maps), *moments_of(maps - plain)])
    mean, square, inner_mean, inner_square = (torch.cat(one).cpu().numpy() for one in zip(*moments, strict=True))
    return StemResponse(
        mean=mean,
        square=square,
        inner_mean=inner_mean,
        inner_square=inner_square,
        colour=colour,
        colour_square=colour_square,
    )


def grey_weights(first: FirstBatchNorm, variant: PreprocessingVariant, stem: StemResponse) -> Array:
    """How much of each channel's variance the brightness of the images explains, squared; C in [0, 1].

    Channels that pass brightness on as it is show contrast; those of edges depend on how sharp the images are.
    """
    variance = np.maximum(stem.inner_square.mean(0) - stem.inner_mean.mean(0) ** 2, 1e-30)
    grey = first.response @ variant.matrix.sum(1)
    spread = (stem.colour_square.mean(0) - stem.colour.mean(0) ** 2).mean()
    explained: Array = np.minimum(1.0, grey**2 * spread / variance) ** 2
    return np.where(np.abs(grey) < _DULL * np.abs(grey).max(), 0.0, explained)


def _fitted(layer: str, norm: nn.Module, responses: Array) -> FirstBatchNorm:
    """Least squares for the mean colour, channels weighted by their deviation; responses 4×C: black, then R, G, B."""
    mean, variance = stored_statistics(norm)
    black, response = responses[0], (responses[1:] - responses[0]).T
    scale = 1 / np.sqrt(variance)
    design, target = response * scale[:, np.newaxis], (mean - black) * scale
    colour, _, _, _ = np.linalg.lstsq(design, target, rcond=None)
    left = float(np.square(design @ colour - target).sum()) / max(1, len(target) - 3)
    eps = epsilon_of(norm)
    return FirstBatchNorm(
        layer=layer,
        mean=mean,
        variance=variance,
        response=response,
        black=black,
        colour=colour,
        covariance=left * np.linalg.pinv(design.T @ design),
        eps=eps,
        inner_variance=np.maximum(variance - eps, 1e-30),
    )


def _uniform_variance(first: FirstBatchNorm, network: nn.Module, side: int) -> Array:
    """Variance C over the positions of a uniform image in the training images' colour: padded borders are edges."""
    device = next(network.parameters()).device
    norm = {first.layer: network.get_submodule(first.layer)}
    mean, square = moments_of(_norm_input(network, norm, _uniform(first.colour, side, device)))
    variance: Array = (square - mean.square())[0].cpu().numpy()
    return variance


def _uniform(colour: Array, side: int, device: torch.device) -> Tensor:
    """One image 1×3×S×S of one colour."""
    return torch.from_numpy(colour).float().to(device).view(1, 3, 1, 1).expand(1, 3, side, side)


def _norm_input(network: nn.Module, norm: dict[str, nn.Module], pixels: Tensor) -> Tensor:
    """What enters a batch norm that is known to run."""
    reached = first_norm_input(network, norm, pixels)
    assert reached is not None  # first_batch_norm_of saw it run
    return reached[1]
