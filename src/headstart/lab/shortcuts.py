"""What a shortcut keeps of an image: a residual block with and without it, and a 1×1 convolution where shapes differ.

Claim: behind a fresh residual block the image is still to be seen as it was, behind the same block without its
    shortcut it is not, and eight blocks without it lose nearly all of it; with the last batch norm's scale at zero a
    block is exactly the identity on images; where the number of channels changes, a 1×1 convolution on the shortcut
    makes the sum possible.
Source: He et al. 2016, arXiv:1512.03385, sections 3.2 and 3.3; Goyal et al. 2017, arXiv:1706.02677, section 5.1
    (scale at zero); the chapter's section on the power of shortcuts.
Settings: a drawn hand of 64×64 pixels, standardised by channel (the branch's output has variance 1, so pixels in [0,
    1] would drown in it); blocks of two 3×3 convolutions with batch norm, 40 seeds.
Expected: mean correlation of each output channel with its own input channel 0.60 ± 0.1 with, 0 ± 0.15 without; share
    of the image that a linear map of each pixel finds again behind 8 blocks: with at least 5 times that without.
    Scale zero: the pixels in [0, 1] come out with difference 0; without the shortcut nothing comes out.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.datasets.hands import draw_hand
from headstart.figures.panels import ImagePlot, Panel
from headstart.inspection.inspection_result import Table
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from, need

SOURCE = "He et al. 2016, arXiv:1512.03385, sections 3.2 and 3.3; Goyal et al. 2017, arXiv:1706.02677, section 5.1"


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm, beside a shortcut that may be left out.

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
        """What the block adds to its shortcut."""
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
        standardise: whether every channel of the image has mean 0 and variance 1; else its pixels lie in [0, 1].

    Raises:
        RecipeError: there is no seed or no block.
    """
    need(min(seeds, deep) >= 1, "at least one seed and one block", (seeds, deep), "seeds, deep")
    settings: dict[str, object] = dict(locals())
    image = draw_hand("scissors", seed=picture, size=size)
    raw = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    pixels = (raw - raw.mean((2, 3), keepdim=True)) / raw.std((2, 3), keepdim=True) if standardise else raw
    outputs = {
        (depth, skip): [_through(pixels, depth, skip, seed + i) for i in range(seeds)]
        for depth in (1, deep)
        for skip in (True, False)
    }
    likeness = {key: _mean([_likeness(out, pixels) for out in outs]) for key, outs in outputs.items()}
    found_again = {key: _mean([_found_again(out, pixels) for out in outs]) for key, outs in outputs.items()}
    found = (
        Number("correlation with the image behind one block", likeness[1, True], 0.6, 0.1),
        Number("the same without the shortcut", likeness[1, False], 0.0, 0.15),
        Number(
            f"found again behind {deep} blocks, with over without",
            found_again[deep, True] / found_again[deep, False],
            5.0,
            relation="≥",
        ),
        *_at_zero(raw, seed),
        *_where_channels_differ(pixels, seed),
    )
    rows = tuple(
        (depth, "with" if skip else "without", likeness[depth, skip], found_again[depth, skip])
        for depth, skip in outputs
    )
    tables = (Table("What is left of the image", ("blocks", "shortcut", "correlation", "found again"), rows),)
    interpretation = (
        f"Behind one block {found_again[1, False]:.0%} of the image can be found again without the shortcut, behind "
        f"{deep} blocks {found_again[deep, False]:.0%}; with it {found_again[1, True]:.0%} and "
        f"{found_again[deep, True]:.0%}.",
    )
    panels = _panels(raw, {key: outs[0] for key, outs in outputs.items()}, deep)
    return Experiment("shortcuts", CLAIMS["shortcuts"], SOURCE, settings, found, tables, interpretation, panels)


def _through(pixels: Tensor, depth: int, skip: bool, seed: int) -> Tensor:
    with drawn_from(seed), torch.no_grad():
        stack = nn.Sequential(*[Block(3, 3, skip=skip) for _ in range(depth)])
        out: Tensor = stack(pixels)
    return out


def _likeness(out: Tensor, image: Tensor) -> float:
    """Mean over channels of the correlation of an output channel with the input channel of the same place."""
    return float(F.cosine_similarity(_centred(out), _centred(image), dim=1).mean())


def _found_again(out: Tensor, image: Tensor) -> float:
    """Share of the image's variance that the best affine map of each pixel's output channels gives back."""
    columns, wanted = _centred(out).T.double(), _centred(image).T.double()
    missed = wanted - columns @ (torch.linalg.pinv(columns) @ wanted)
    return float(1 - missed.square().sum() / wanted.square().sum())


def _centred(maps: Tensor) -> Tensor:
    flat = maps[0].flatten(1)
    return flat - flat.mean(1, keepdim=True)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


@torch.no_grad()
def _at_zero(raw: Tensor, seed: int) -> tuple[Number, ...]:
    with drawn_from(seed):
        block = Block(3, 3)
    nn.init.zeros_(block.bn2.weight)
    kept = block(raw)
    block.skip = False
    return (
        Number("scale at zero: largest change of a pixel", float((kept - raw).abs().max()), 0.0),
        Number("scale at zero, no shortcut: largest output", float(block(raw).abs().max()), 0.0),
    )


@torch.no_grad()
def _where_channels_differ(pixels: Tensor, seed: int) -> tuple[Number, ...]:
    with drawn_from(seed):
        block = Block(3, 8, stride=2)
    out = block(pixels)
    every_second = pixels[:, :, ::2, ::2]
    by_hand = torch.einsum("oi,nihw->nohw", block.get_parameter("shortcut.weight")[:, :, 0, 0], every_second)
    apart = out - F.relu(block.branch(pixels) + by_hand)
    return (
        Number("channels behind a block 3→8 with stride 2", float(out.shape[1]), 8.0),
        Number("its side against the image's", out.shape[2] / pixels.shape[2], 0.5),
        Number("1×1 shortcut against a matrix on every second pixel", float(apart.abs().max()), 0.0, 1e-5),
    )


def _panels(raw: Tensor, outputs: dict[tuple[int, bool], Tensor], deep: int) -> tuple[Panel, ...]:
    def shown(title: str, maps: Tensor) -> ImagePlot:
        # by the brightest but two in a hundred: a few bright pixels would leave the rest in the dark
        bright = maps[0].flatten(1).quantile(0.98, dim=1).clamp_min(1e-9)
        note = f"correlation with the image {_likeness(maps, raw):.2f}"
        return ImagePlot(title, (maps[0] / bright[:, None, None]).permute(1, 2, 0).numpy(), note=note)

    many = f"{deep} blocks"
    return (
        ImagePlot("the image", raw[0].permute(1, 2, 0).numpy()),
        shown("1 block with its shortcut", outputs[1, True]),
        shown(f"{many} with shortcuts", outputs[deep, True]),
        ImagePlot("the image", raw[0].permute(1, 2, 0).numpy()),
        shown("1 block without", outputs[1, False]),
        shown(f"{many} without", outputs[deep, False]),
    )
