"""An inception module: four parallel branches, concatenated along the channels, made cheap by 1×1 convolutions.

Claim: 1×1 convolutions before the 3×3 and 5×5 ones and after the pooling cut the multiply-adds to under half of the
    plain module's and keep the output from growing with every module; each branch has its own output channels.
Source: Szegedy et al. 2014, Going Deeper with Convolutions, arXiv:1409.4842, figure 2 and row "inception (3a)" of
    table 1; the chapter on transfer learning, inception modules.
Settings: module 3a: 192 channels of 28×28, branches of 64, 96→128, 16→32 and 32 channels; weights from seed 0.
Expected: 256 channels of 28×28; 159 K weights (K is 1024) and 128 M multiply-adds, the paper's numbers; the plain
    module has 416 channels and 387,072 weights (by hand: 192·64 + 9·192·128 + 25·192·32).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from headstart.datasets.hands import draw_hand
from headstart.figures.panels import Bars, ImagePlot, Panel
from headstart.figures.style import BLUE, ORANGE
from headstart.hooks import watch_outputs
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, require, seeded

SOURCE = "Szegedy et al. 2014, Going Deeper with Convolutions, arXiv:1409.4842, figure 2 and table 1"
Widths = tuple[int, int, int, int]


class Inception(nn.Module):
    """1×1, 3×3 and 5×5 convolutions and a pooling of one input, concatenated along the channels; no bias, no norm.

    Args:
        inner: channels in. widths: channels of the four branches.
        reduced: channels of the 1×1 convolutions before the 3×3 and the 5×5 one; None: there are none, and the pooling
            keeps all channels.
    """

    def __init__(self, inner: int, widths: Widths, reduced: tuple[int, int] | None = None) -> None:
        super().__init__()
        first, second, third, last = widths
        self.one = nn.Sequential(_conv(inner, first, 1))
        self.three = nn.Sequential(*_reduced((inner, second), 3, reduced and reduced[0]))
        self.five = nn.Sequential(*_reduced((inner, third), 5, reduced and reduced[1]))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), *([_conv(inner, last, 1)] if reduced else []))

    def forward(self, x: Tensor) -> Tensor:
        """N×inner×H×W → N×(sum of the branches)×H×W."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


def run(
    *,
    inner: int = 192,
    widths: Widths = (64, 128, 32, 32),
    reduced: tuple[int, int] = (96, 16),
    side: int = 28,
    seed: int = 0,
) -> Experiment:
    """Count weights and multiply-adds of a module with and without its 1×1 reductions, and split its output.

    Args:
        inner: channels of the input. widths: of the branches. reduced: of the reductions before 3×3 and 5×5.

    Raises:
        RecipeError: a number of channels is below one.
    """
    require(
        min(inner, *widths, *reduced, side) >= 1,
        "at least one channel and pixel",
        found=(inner, widths, reduced),
        where="channels",
    )
    settings: dict[str, object] = dict(locals())
    with seeded(seed), torch.no_grad():
        cheap, plain = Inception(inner, widths, reduced), Inception(inner, widths)
        x = torch.randn(1, inner, side, side)
        reduced_costs, plain_costs = _multiply_adds(cheap, x), _multiply_adds(plain, x)
        out = cheap(x)
        branches = [branch(x) for branch in cheap.children()]
        wide = plain(x).shape[1]
        maps = _maps(seed)
    split = out.split([branch.shape[1] for branch in branches], 1)
    difference = max(float((own - branch).abs().max()) for own, branch in zip(split, branches, strict=True))
    total, most = sum(reduced_costs.values()), sum(plain_costs.values())
    found = (
        Number("output channels", float(out.shape[1]), float(sum(widths))),
        Number("largest difference of a branch to its output channels", difference, 0.0, 1e-6),
        Number("multiply-adds relative to the plain module", total / most, 0.5, relation="≤"),
        Number("output channels relative to the plain module", out.shape[1] / wide, 0.9, relation="≤"),
        Number("output channels, table 1", float(out.shape[1]), 256.0, printed=True),
        Number("weights, table 1 (K = 1024)", _weights(cheap) / 1024, 159.0, 0.5, printed=True),
        Number("multiply-adds, table 1 (M)", total / 1e6, 128.0, 0.5, printed=True),
    )
    interpretation = (
        f"{_weights(cheap):,} weights against {_weights(plain):,}; {total / 1e6:.0f} M multiply-adds against "
        f"{most / 1e6:.0f} M; {out.shape[1]} output channels against {wide}.",
    )
    return Experiment(
        "inception_module",
        SOURCE,
        settings,
        numbers=found,
        tables=(_table(reduced_costs, plain_costs),),
        interpretation=interpretation,
        panels=(_bars(reduced_costs, plain_costs), *maps),
    )


def _table(reduced: dict[str, int], plain: dict[str, int]) -> Table:
    rows = tuple((name, reduced[name] / 1e6, plain[name] / 1e6) for name in reduced)
    return Table("Multiply-adds per image, millions", ("branch", "with 1×1", "plain"), rows)


def _conv(inner: int, outer: int, side: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, side, padding=side // 2, bias=False)


def _reduced(channels: tuple[int, int], side: int, between: int | None) -> list[nn.Module]:
    """A convolution between channels in and out, with a 1×1 reduction before it."""
    inner, outer = channels
    if between is None:
        return [_conv(inner, outer, side)]
    return [_conv(inner, between, 1), nn.ReLU(), _conv(between, outer, side)]


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _multiply_adds(module: Inception, x: Tensor) -> dict[str, int]:
    """Branch → multiply-adds, from the output sizes of its convolutions."""
    counts = dict.fromkeys((name for name, _ in module.named_children()), 0)
    convolutions = {name: one for name, one in module.named_modules() if isinstance(one, nn.Conv2d)}

    def count(name: str, out: Tensor) -> None:
        counts[name.partition(".")[0]] += convolutions[name].weight.numel() * out.shape[2] * out.shape[3]

    with watch_outputs(convolutions, count):
        module(x)
    return counts


def _bars(reduced: dict[str, int], plain: dict[str, int]) -> Bars:
    titles = {"one": "1×1", "three": "3×3", "five": "5×5", "pool": "pooling"}
    names = tuple(f"{titles[branch]}, {kind}" for branch in reduced for kind in ("reduced", "plain"))
    values = tuple(count[branch] / 1e6 for branch in reduced for count in (reduced, plain))
    return Bars(
        "Cost of each branch", names, values, x_label="million multiply-adds", form="{:.0f}", colors=(BLUE, ORANGE) * 4
    )


def _maps(seed: int) -> tuple[Panel, ...]:
    """A drawn hand, and the first output channel of each branch of an untrained module."""
    image = draw_hand("scissors", seed=4, size=64)
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).permute(2, 0, 1)[None]
    with seeded(seed):
        module = Inception(3, (2, 2, 2, 2), (2, 2))
    names = {"one": "1×1 branch", "three": "3×3 branch", "five": "5×5 branch", "pool": "pooling branch"}
    maps = [ImagePlot(names[name], branch(pixels)[0, 0].numpy()) for name, branch in module.named_children()]
    return (ImagePlot("an image", pixels[0].permute(1, 2, 0).numpy()), *maps)
