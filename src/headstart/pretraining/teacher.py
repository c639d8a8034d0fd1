"""Teacher: three feature maps of a network that others trained, brought to one scale and onto the student's places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone
from headstart.pretraining.teacher_engine import Maps, fast_maps

NAME = "squeezenet1_0"
_TAPS = (5, 10, 12)  # the last layers of fire 4, fire 8 and fire 9 in torchvision's `features`
_FIRST = (5.0, 9.0, 17.0)  # pixel that the first place of each map is centred on: no padding, pools of 3 by 2
_STRIDE = (4.0, 8.0, 16.0)
WIDTHS = (256, 512, 512)


@dataclass(frozen=True)
class Grid:
    """Where the places of a map lie in the picture: the first one's pixel, the step, how many along a side."""

    first: float
    step: float
    count: int

    def centres(self) -> Tensor:
        """Pixels of the places along one side."""
        return self.first + self.step * torch.arange(self.count)


class Teacher(nn.Module):
    """Pixels → roots of the teacher's maps after fire 4, 8 and 9: each channel with mean 0 and deviation 1.

    Measured on pictures not learnt from: with roots and batches of 32, the student explained 0.17 of the second map and
    0.05 of the third after 6,000 pictures; without and with batches of 64, 0.09 and 0.02 after 10,000.

    Args:
        backbone: the row NAME with its weights.
        grids: where the student's three maps lie; the teacher's are read off there.
    """

    def __init__(self, backbone: Backbone, grids: tuple[Grid, ...], size: int) -> None:
        super().__init__()
        self.body = _Body(backbone.network.get_submodule("features"))
        self._size = size
        self._fast: Maps | None = None
        for number, (grid, map_) in enumerate(zip(grids, self.body(torch.zeros(1, 3, size, size)), strict=True)):
            own = Grid(_FIRST[number], _STRIDE[number], map_.shape[-1])
            self.register_buffer(f"onto{number}", reading(own, grid), persistent=False)
            self.register_buffer(f"mean{number}", torch.zeros(WIDTHS[number]))
            self.register_buffer(f"deviation{number}", torch.ones(WIDTHS[number]))

    def quicken(self) -> None:
        """Run on onnxruntime from now on, where it is installed and the network is on the CPU."""
        if self.get_buffer("mean0").device.type == "cpu":
            self._fast = fast_maps(self.body, len(WIDTHS), self._size)

    @torch.no_grad()
    def measure(self, pixels: Tensor) -> None:
        """Take each channel's mean and deviation over these pixels and all places as its scale."""
        for number, map_ in enumerate(self._read(pixels)):
            deviation, mean = torch.std_mean(map_, (0, 2, 3))
            self.get_buffer(f"mean{number}").copy_(mean)
            self.get_buffer(f"deviation{number}").copy_(deviation.clamp_min(0.1 * float(deviation.mean())))

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Pixels N×3×S×S → three targets N×C×G×G."""
        return tuple(
            (map_ - self.get_buffer(f"mean{i}")[:, None, None]) / self.get_buffer(f"deviation{i}")[:, None, None]
            for i, map_ in enumerate(self._read(pixels))
        )

    def _read(self, pixels: Tensor) -> list[Tensor]:
        maps = (self._fast or self.body)(pixels)
        return [
            torch.einsum("gh,nchw,kw->ncgk", onto, map_, onto)
            for map_, onto in zip(maps, (self.get_buffer(f"onto{i}") for i in range(3)), strict=True)
        ]


class _Body(nn.Module):
    """The teacher's layers up to the last tap; pixels → roots of three maps."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*list(features.children())[: _TAPS[-1] + 1]).to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Three maps N×C×H×W, 0 or more."""
        x, maps = pixels.contiguous(memory_format=torch.channels_last), []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in _TAPS:
                # the root tames the few large values that would else rule the deviation; it copies, too, and the next
                # layer's ReLU may write into x
                maps.append(x.clamp_min(0).sqrt())
        return maps


def reading(source: Grid, target: Grid) -> Tensor:
    """Weights T×S that read a map off at other places: triangles as wide as the wider step, rows with sum 1.

    Two networks do not look at the same pixels with the same index, for their paddings differ; a teacher's map that
    is only resized would be off by up to half a step.
    """
    away = (target.centres()[:, None] - source.centres()[None, :]).abs()
    weights = (1.0 - away / max(source.step, target.step)).clamp_min(0.0)
    nearest = torch.nn.functional.one_hot(away.argmin(1), source.count).float()
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, nearest)  # places beyond the source's edge
    return weights / weights.sum(1, keepdim=True)
