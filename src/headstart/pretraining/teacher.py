"""Teacher: what a network that others trained gives after each of its blocks, every channel brought to one scale."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone
from headstart.backbones.models.fire_resnet import WIDTHS
from headstart.pretraining.teacher_engine import Maps, fast_maps

NAME = "squeezenet1_0"
_LAYERS = 13  # of torchvision's `features`: all


class Teacher(nn.Module):
    """Pixels → nine maps, of the first convolution and of fire 2 to 9, before their last ReLU, in units of deviations.

    Before the ReLU every place of a channel says something; after it most are zero, and a block learns far more slowly
    (docs/embedded.md has the numbers).

    Args:
        backbone: the row NAME with its weights. size: pixels along a picture's side.
    """

    def __init__(self, backbone: Backbone, size: int) -> None:
        super().__init__()
        # a copy: whoever moves the teacher to a GPU does not move the backbone, which is measured afterwards
        self.body = _Body(copy.deepcopy(backbone.network.get_submodule("features")))
        self._size = size
        self._fast: Maps | None = None
        for number, width in enumerate(WIDTHS):
            self.register_buffer(f"deviation{number}", torch.ones(width, 1, 1))

    def quicken(self) -> None:
        """Run on onnxruntime from now on, where it is installed and the network is on the CPU."""
        if self.get_buffer("deviation0").device.type == "cpu":
            self._fast = fast_maps(self.body, len(WIDTHS), self._size)

    @torch.no_grad()
    def measure(self, pixels: Tensor) -> None:
        """Take each channel's deviation over these pixels and all places as its unit."""
        for number, map_ in enumerate((self._fast or self.body)(pixels)):
            deviation = map_.std((0, 2, 3))
            least = 0.1 * float(deviation.mean())  # a channel that hardly ever moves stays small
            self.get_buffer(f"deviation{number}").copy_(deviation.clamp_min(least)[:, None, None])

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Pixels N×3×S×S → nine maps N×C×H×H."""
        maps = (self._fast or self.body)(pixels)
        return tuple(map_ / self.get_buffer(f"deviation{i}") for i, map_ in enumerate(maps))


class _Body(nn.Module):
    """The teacher's layers; pixels → what its ReLUs are given after each block."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*list(features.children())[:_LAYERS]).to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Nine maps N×C×H×H."""
        x, sums = pixels.contiguous(memory_format=torch.channels_last), []
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                x = layer(x)
            elif not isinstance(layer, nn.ReLU):
                sums.append(layer(x) if isinstance(layer, nn.Conv2d) else _fire_sums(layer, x))
                x = F.relu(sums[-1])
        return sums


def _fire_sums(fire: nn.Module, x: Tensor) -> Tensor:
    """torchvision's Fire without its last ReLU."""
    few = F.relu(fire.get_submodule("squeeze")(x))
    return torch.cat([fire.get_submodule("expand1x1")(few), fire.get_submodule("expand3x3")(few)], 1)
