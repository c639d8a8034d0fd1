"""What each block of a residual network does with some images: its share, its gradient, and answers without it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.inspection.inspected_images import BATCH
from headstart.inspection.inspected_model import InspectedModel
from headstart.inspection.residual.residual_sums import Junction, joining

GRADIENT_IMAGES = 24  # all maps of a pass are kept for the gradient, so few; its shares differ little between images
_GRADIENT_BATCH = 8


@dataclass(frozen=True, eq=False)
class Norms:
    """Lengths over N images of K blocks, N×K each: of branch, shortcut and their sum; dot product of the two."""

    branch: Tensor
    shortcut: Tensor
    whole: Tensor
    dot: Tensor


def parts_of(pixels: Tensor, size: int = BATCH) -> Iterator[Tensor]:
    """The pixels in parts of about one size, none of a single image where there are two: see `find_junctions`."""
    yield from torch.tensor_split(pixels, max(1, math.ceil(len(pixels) / size)))


@torch.inference_mode()
def measure(subject: InspectedModel, junctions: Sequence[Junction], pixels: Tensor) -> tuple[Norms, Tensor | None]:
    """Lengths at every junction, and the logits of the same pass where there are any."""
    rows: list[Tensor] = []
    answers: list[Tensor] = []
    for part in parts_of(pixels):
        found: list[Tensor] = []

        def join(
            _: Junction, shortcut: Tensor, branch: Tensor, __: Tensor | None, found: list[Tensor] = found
        ) -> Tensor:
            whole = shortcut + branch
            found.append(_lengths(shortcut, branch, whole))
            return whole

        with joining(junctions, join):
            answers.append(_run(subject, part))
        rows.append(torch.stack(found, 2))  # 4×n×K
    norms = Norms(*torch.cat(rows, 1).cpu().double())
    return norms, torch.cat(answers) if subject.has_logits else None


@torch.inference_mode()
def logits_without(subject: InspectedModel, junction: Junction, pixels: Tensor) -> Tensor:
    """Logits N×C of the network whose block is its shortcut alone."""
    answers = []
    for part in parts_of(pixels):
        with joining([junction], lambda _, shortcut, __, ___: shortcut.clone()):  # what follows may write into it
            answers.append(subject.logits(part))
    return torch.cat(answers)


def gradient_shares(
    subject: InspectedModel, junctions: Sequence[Junction], pixels: Tensor, labels: Tensor
) -> list[float]:
    """Of the gradient that arrives before each block, the share that came through its branch; in [0, 1].

    It is the gradient of the images' scores (logits of their labels). Shortcut and branch can point against each other,
    so their lengths are compared, not their sum: |branch| / (|branch| + |shortcut|).
    """
    branch, whole = torch.zeros(len(junctions)).double(), torch.zeros(len(junctions)).double()
    for part, of in zip(torch.split(pixels, _GRADIENT_BATCH), torch.split(labels, _GRADIENT_BATCH), strict=True):
        lengths = _through(subject, junctions, part, of)  # 2×K
        branch += lengths[0]
        whole += lengths.sum(0)
    return [float(share) for share in branch / whole.clamp_min(1e-300)]


def _through(subject: InspectedModel, junctions: Sequence[Junction], pixels: Tensor, labels: Tensor) -> Tensor:
    """Lengths of the gradients through branch and shortcut of each block, summed over the images; 2×K."""
    met: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def join(_: Junction, shortcut: Tensor, branch: Tensor, source: Tensor | None) -> Tensor:
        assert source is not None  # asked for below
        whole = shortcut + branch
        met.append((source, shortcut, branch, whole))
        return whole.clone()  # a layer in place would write over what the gradient is taken of

    with torch.enable_grad():
        pixels = pixels.detach().clone().requires_grad_()
        with joining(junctions, join, sources_from=pixels):
            logits = subject.logits(pixels)
        score = logits.gather(1, labels[:, None]).sum()
        arriving = torch.autograd.grad(score, [whole for _, _, _, whole in met], retain_graph=True)
        found = [_split(*parts[:3], gradient) for parts, gradient in zip(met, arriving, strict=True)]
    return torch.tensor(found, dtype=torch.float64).T


def _split(source: Tensor, shortcut: Tensor, branch: Tensor, gradient: Tensor) -> tuple[float, float]:
    """The gradient at a block's source through its branch and through its shortcut, lengths summed over the images."""
    (through,) = torch.autograd.grad(branch, source, gradient, retain_graph=True)
    past = gradient
    if shortcut is not source:
        (past,) = torch.autograd.grad(shortcut, source, gradient, retain_graph=True)
    branch_length, shortcut_length = (float(one.flatten(1).norm(dim=1).cpu().double().sum()) for one in (through, past))
    return branch_length, shortcut_length


def _lengths(shortcut: Tensor, branch: Tensor, whole: Tensor) -> Tensor:
    """4×n: lengths of branch, shortcut and sum, and the dot product, of each image."""
    flat = [one.float().flatten(1) for one in (branch, shortcut, whole)]
    dot = torch.einsum("np,np->n", flat[0], flat[1])
    return torch.stack([*[one.norm(dim=1) for one in flat], dot])


def _run(subject: InspectedModel, pixels: Tensor) -> Tensor:
    if subject.has_logits:
        return subject.logits(pixels)
    subject.network(pixels)
    return pixels.new_empty(0)
