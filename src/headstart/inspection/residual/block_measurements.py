"""What each residual block of a network does with some images: lengths, gradients, and predictions without it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.inspection.graph import Graph, record_graph
from headstart.inspection.inspected_images import BATCH
from headstart.inspection.inspected_model import InspectedModel
from headstart.inspection.residual.residual_sums import ResidualSum, find_residual_sums, joining

GRADIENT_IMAGES = 24  # all maps of a pass are kept for the gradient, so few; its shares differ little between images
_GRADIENT_BATCH = 8


@dataclass(frozen=True)
class BlockMeasurement:
    """One residual block: the addition of a branch to a shortcut.

    Args:
        name: of the module that adds.
        projection: whether the shortcut is more than the identity.
        share: mean |branch| over mean |branch + shortcut|.
        share_low, share_high: its 95 % interval.
        cosine: of branch and shortcut, mean over the images.
        gradient: share of the gradient before the block that came through the branch; None without logits.
        accuracy: without the block; None without ablation.
        change: of the accuracy without the block, from `change_low` to `change_high` (95 %); None without ablation.
    """

    name: str
    projection: bool
    share: float
    share_low: float
    share_high: float
    cosine: float
    gradient: float | None = None
    accuracy: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None


@dataclass(frozen=True, eq=False)
class ResidualNetwork:
    """An inspected model with its K residual sums; it is in eval mode while it is measured."""

    model: InspectedModel
    graph: Graph
    sums: tuple[ResidualSum, ...]

    @classmethod
    def of(cls, model: InspectedModel, pixels: Tensor) -> ResidualNetwork:
        """Record the graph on some images and find the sums in it."""
        run = model.logits if model.has_logits else None
        graph = record_graph(model.network, pixels, on_meta=False, run=run)
        return cls(model, graph, find_residual_sums(graph, model.network))


@dataclass(frozen=True, eq=False)
class Norms:
    """Lengths over N images of K blocks, N×K each: of branch, shortcut and their sum; dot product of the two."""

    branch: Tensor
    shortcut: Tensor
    total: Tensor
    dot: Tensor


@torch.inference_mode()
def measure_norms(network: ResidualNetwork, pixels: Tensor) -> tuple[Norms, Tensor | None]:
    """Lengths at every residual sum, and the logits of the same pass; None for a model without."""
    lengths: list[Tensor] = []
    logits: list[Tensor] = []
    for batch in _batches(pixels):
        found: list[Tensor] = []

        # the fourth binds this batch's list
        def join(shortcut: Tensor, branch: Tensor, _: Tensor | None, found: list[Tensor] = found) -> Tensor:
            total = shortcut + branch
            found.append(_lengths(shortcut, branch, total))
            return total

        with joining(network.graph, network.sums, join):
            if network.model.has_logits:
                logits.append(network.model.logits(batch))
            else:
                network.model.network(batch)
        lengths.append(torch.stack(found, 2))  # 4×n×K
    return Norms(*torch.cat(lengths, 1).cpu().double()), torch.cat(logits) if logits else None


@torch.inference_mode()
def logits_without(network: ResidualNetwork, block: ResidualSum, pixels: Tensor) -> Tensor:
    """Logits N×C of the network whose block is its shortcut alone."""
    logits = []
    for batch in _batches(pixels):
        # a copy: an in-place layer may follow
        with joining(network.graph, [block], lambda shortcut, _branch, _source: shortcut.clone()):
            logits.append(network.model.logits(batch))
    return torch.cat(logits)


def gradient_shares(network: ResidualNetwork, pixels: Tensor, labels: Tensor) -> list[float]:
    """Of the gradient that arrives before each block, the share that came through its branch; in [0, 1].

    It is the gradient of the images' scores (logits of their labels). Shortcut and branch can point against each other,
    so their lengths are compared, not their sum: |branch| / (|branch| + |shortcut|).
    """
    through = torch.zeros(2, len(network.sums)).double()  # branch and shortcut
    for batch, of in zip(torch.split(pixels, _GRADIENT_BATCH), torch.split(labels, _GRADIENT_BATCH), strict=True):
        through += _gradient_lengths(network, batch, of)
    return [float(share) for share in through[0] / through.sum(0).clamp_min(1e-300)]


def _gradient_lengths(network: ResidualNetwork, pixels: Tensor, labels: Tensor) -> Tensor:
    """Lengths of the gradients through branch and shortcut of each block, summed over the images; 2×K."""
    met: list[tuple[Tensor, Tensor, Tensor]] = []  # source, shortcut, branch of each block
    totals: list[Tensor] = []

    def join(shortcut: Tensor, branch: Tensor, source: Tensor | None) -> Tensor:
        assert source is not None  # asked for below
        met.append((source, shortcut, branch))
        totals.append(shortcut + branch)
        return totals[-1].clone()  # an in-place layer would write over what the gradient is taken of

    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_().clone()
        with joining(network.graph, network.sums, join, sources_from=pixels):
            logits = network.model.logits(pixels)
        score = logits.gather(1, labels[:, None]).sum()
        arriving = torch.autograd.grad(score, totals, retain_graph=True)
        found = [_split(*operands, gradient) for operands, gradient in zip(met, arriving, strict=True)]
    return torch.tensor(found, dtype=torch.float64).T


# the three tensors of a block and the gradient of their sum belong together
def _split(source: Tensor, shortcut: Tensor, branch: Tensor, gradient: Tensor) -> tuple[float, float]:
    """The gradient at a block's source through its branch and through its shortcut, lengths summed over the images."""
    (through,) = torch.autograd.grad(branch, source, gradient, retain_graph=True)
    past = gradient
    if shortcut is not source:
        (past,) = torch.autograd.grad(shortcut, source, gradient, retain_graph=True)
    branch_length, shortcut_length = (float(one.flatten(1).norm(dim=1).cpu().double().sum()) for one in (through, past))
    return branch_length, shortcut_length


def _lengths(shortcut: Tensor, branch: Tensor, total: Tensor) -> Tensor:
    """4×n: lengths of branch, shortcut and sum, and the dot product, of each image."""
    flat = [one.float().flatten(1) for one in (branch, shortcut, total)]
    dot = torch.einsum("np,np->n", flat[0], flat[1])
    return torch.stack([*[one.norm(dim=1) for one in flat], dot])


def _batches(pixels: Tensor) -> Iterator[Tensor]:
    """The pixels in batches of about one size, none of a single image where there are two."""
    yield from torch.tensor_split(pixels, max(1, math.ceil(len(pixels) / BATCH)))
