"""What a shortcut preserves of an image: blocks with and without it, and a 1×1 convolution where shapes differ.

Claim: after an untrained residual block the image is still visible, after the same block without its shortcut it is
    not, and eight blocks without it lose nearly all of it; with the scale of the last batch norm at zero a block is
    exactly the identity on images; where the number of channels changes, a 1×1 convolution on the shortcut makes the
    sum possible.
Source: He et al. 2016, arXiv:1512.03385, sections 3.2 and 3.3; Goyal et al. 2017, arXiv:1706.02677, section 5.1
    (scale at zero); the chapter's section on the power of shortcuts.
Settings: a drawn hand of 64×64 pixels, standardised by channel (the output of the branch has variance 1, which would
    hide pixels in [0, 1]); blocks of two 3×3 convolutions with batch norm, 40 seeds.
Expected: mean correlation of each output channel with its own input channel 0.60 ± 0.1 with, 0 ± 0.15 without; share
    of the image that a linear map of each pixel recovers after 8 blocks: with at least 5 times that without. Scale
    zero: pixels in [0, 1] are unchanged; without the shortcut the output is zero.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.datasets.hands import draw_hand
from headstart.figures.panels import ImagePlot, Panel
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded
from headstart.wording import percent

SOURCE = "He et al. 2016, arXiv:1512.03385, sections 3.2 and 3.3; Goyal et al. 2017, arXiv:1706.02677, section 5.1"


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm, and a shortcut that can be left out.

    Args:
        inner, outer: channels in and out; where they differ, or the stride is not 1, the shortcut is a 1×1 convolution.
    """

    def __init__(self, inner: int, outer: int, *, stride: int = 1, skip: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.skip = skip
        fits = stride == 1 and inner == outer
        self.shortcut: nn.Module = nn.Identity() if fits else nn.Conv2d(inner, outer, 1, stride, bias=False)

    def branch(self, x: Tensor) -> Tensor:
        """The output that is added to the shortcut."""
        y: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """N×inner×H×W → N×outer×H/stride×W/stride."""
        return F.relu(self.branch(x) + self.shortcut(x) if self.skip else self.branch(x))


def run(
    *, size: int = 64, picture: int = 4, seeds: int = 40, seed: int = 0, deep: int = 8, standardise: bool = True
) -> Experiment:
    """Send a drawn hand through blocks with and without their shortcut.

    Args:
        picture: seed of the drawn hand. deep: blocks of the deep stack.
        standardise: whether every channel of the image has mean 0 and variance 1; otherwise its pixels are in [0, 1].

    Raises:
        RecipeError: there is no seed or no block.
    """
    require(min(seeds, deep) >= 1, "at least one seed and one block", found=(seeds, deep), where="seeds, deep")
    settings: dict[str, object] = dict(locals())
    image = draw_hand("scissors", seed=picture, size=size)
    raw = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    pixels = (raw - raw.mean((2, 3), keepdim=True)) / raw.std((2, 3), keepdim=True) if standardise else raw
    outputs = {
        (depth, skip): [_apply(pixels, depth, seed + i, skip=skip) for i in range(seeds)]
        for depth in (1, deep)
        for skip in (True, False)
    }
    correlation = {key: _mean([_correlation(out, pixels) for out in outs]) for key, outs in outputs.items()}
    recovered = {key: _mean([_recovered(out, pixels) for out in outs]) for key, outs in outputs.items()}
    found = (
        Number("correlation with the image after one block", correlation[1, True], 0.6, 0.1),
        Number("the same without the shortcut", correlation[1, False], 0.0, 0.15),
        Number(
            f"recovered after {deep} blocks, with over without shortcuts",
            recovered[deep, True] / recovered[deep, False],
            5.0,
            relation="≥",
        ),
        *_at_zero(raw, seed),
        *_where_channels_differ(pixels, seed),
    )
    rows = tuple(
        (depth, "with" if skip else "without", correlation[depth, skip], recovered[depth, skip])
        for depth, skip in outputs
    )
    tables = (Table("What is left of the image", ("blocks", "shortcut", "correlation", "recovered"), rows),)
    interpretation = (
        f"Without shortcuts {percent(recovered[1, False])} of the image can be recovered after one block and "
        f"{percent(recovered[deep, False])} after {deep}; with shortcuts {percent(recovered[1, True])} and "
        f"{percent(recovered[deep, True])}.",
    )
    panels = _panels(raw, {key: outs[0] for key, outs in outputs.items()}, deep)
    return Experiment(
        "shortcuts", SOURCE, settings, numbers=found, tables=tables, interpretation=interpretation, panels=panels
    )


def _apply(pixels: Tensor, depth: int, seed: int, *, skip: bool) -> Tensor:
    """Output of so many untrained blocks."""
    with seeded(seed), torch.no_grad():
        stack = nn.Sequential(*[Block(3, 3, skip=skip) for _ in range(depth)])
        out: Tensor = stack(pixels)
    return out


def _correlation(out: Tensor, image: Tensor) -> float:
    """Mean over channels of the correlation of an output channel with the same input channel."""
    return float(F.cosine_similarity(_centred(out), _centred(image), dim=1).mean())


def _recovered(out: Tensor, image: Tensor) -> float:
    """Share of the variance of the image that the best affine map of the output channels of each pixel explains."""
    columns, target = _centred(out).T.double(), _centred(image).T.double()
    residual = target - columns @ (torch.linalg.pinv(columns) @ target)
    return float(1 - residual.square().sum() / target.square().sum())


def _centred(maps: Tensor) -> Tensor:
    flat = maps[0].flatten(1)
    return flat - flat.mean(1, keepdim=True)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@torch.no_grad()
def _at_zero(raw: Tensor, seed: int) -> tuple[Number, ...]:
    with seeded(seed):
        block = Block(3, 3)
    nn.init.zeros_(block.bn2.weight)
    output = block(raw)
    block.skip = False
    return (
        Number("scale at zero: largest change of a pixel", float((output - raw).abs().max()), 0.0),
        Number("scale at zero, no shortcut: largest output", float(block(raw).abs().max()), 0.0),
    )


@torch.no_grad()
def _where_channels_differ(pixels: Tensor, seed: int) -> tuple[Number, ...]:
    with seeded(seed):
        block = Block(3, 8, stride=2)
    out = block(pixels)
    every_second = pixels[:, :, ::2, ::2]
    by_hand = torch.einsum("oi,nihw->nohw", block.get_parameter("shortcut.weight")[:, :, 0, 0], every_second)
    difference = out - F.relu(block.branch(pixels) + by_hand)
    return (
        Number("channels after a block 3→8 with stride 2", float(out.shape[1]), 8.0),
        Number("its side relative to the image", out.shape[2] / pixels.shape[2], 0.5),
        Number("1×1 shortcut against a matrix on every second pixel", float(difference.abs().max()), 0.0, 1e-5),
    )


def _panels(raw: Tensor, outputs: dict[tuple[int, bool], Tensor], deep: int) -> tuple[Panel, ...]:
    def shown(title: str, maps: Tensor) -> ImagePlot:
        # scaled by the 98th percentile: a few bright pixels would darken the rest
        bright = maps[0].flatten(1).quantile(0.98, dim=1).clamp_min(1e-9)
        note = f"correlation with these weights {_correlation(maps, raw):.2f}"  # the table has the mean over several
        return ImagePlot(title, (maps[0] / bright[:, None, None]).permute(1, 2, 0).numpy(), note=note)

    blocks = f"{deep} blocks"
    return (
        ImagePlot("the image", raw[0].permute(1, 2, 0).numpy()),
        shown("1 block with shortcut", outputs[1, True]),
        shown(f"{blocks} with shortcuts", outputs[deep, True]),
        ImagePlot("the image", raw[0].permute(1, 2, 0).numpy()),
        shown("1 block without shortcut", outputs[1, False]),
        shown(f"{blocks} without shortcuts", outputs[deep, False]),
    )
