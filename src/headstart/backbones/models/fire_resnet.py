"""The network of the backbone `embedded`: fire modules with batch norm, and shortcuts where the shape stays."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (96, 128, 128, 256, 256, 384, 384, 512, 512)
"""Output channels of the stem and the eight blocks."""


class Stem(nn.Module):
    """A 7×7 convolution over every second pixel, batch norm, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTHS[0], 7, 2, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])

    def sums(self, x: Tensor) -> Tensor:
        """The input of the ReLU: N×3×S×S → N×96×H×H."""
        out: Tensor = self.bn(self.conv(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """N×3×S×S → N×96×H×H, 0 or more."""
        return F.relu(self.sums(x))


class FireBlock(nn.Module):
    """A 1×1 convolution to few channels, then a 1×1 beside a 3×3 to many; plus the input, scaled per channel.

    Source: Iandola et al. 2016, arXiv:1602.07360, sections 3.2 and 6 (simple bypass). Here with batch norm, also on the
    shortcut, so that a block can learn how much of its input to pass on.

    Args:
        inner, outer: input and output channels. squeezed: channels between the two.
    """

    def __init__(self, inner: int, squeezed: int, outer: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inner, squeezed, 1, bias=False)
        self.bn = nn.BatchNorm2d(squeezed)
        self.expand1 = nn.Conv2d(squeezed, outer // 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer // 2)
        self.expand3 = nn.Conv2d(squeezed, outer // 2, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outer // 2)
        self.shortcut = nn.BatchNorm2d(outer) if inner == outer else None

    def sums(self, x: Tensor) -> Tensor:
        """The input of the last ReLU: N×inner×H×H → N×outer×H×H."""
        few = F.relu(self.bn(self.squeeze(x)))
        many = torch.cat([self.bn1(self.expand1(few)), self.bn3(self.expand3(few))], 1)
        return many if self.shortcut is None else many + self.shortcut(x)

    def forward(self, x: Tensor) -> Tensor:
        """N×inner×H×H → N×outer×H×H, 0 or more."""
        return F.relu(self.sums(x))


class FireResNet(nn.Module):
    """A stem and eight blocks, four of them with a shortcut; its head is empty, for `replace_head`."""

    def __init__(self) -> None:
        super().__init__()
        squeezed = (16, 16, 32, 32, 48, 48, 64, 64)
        blocks = [FireBlock(*sizes) for sizes in zip(WIDTHS, squeezed, WIDTHS[1:], strict=False)]
        pools = [nn.MaxPool2d(3, 2, ceil_mode=True) for _ in range(3)]
        self.stem = Stem()
        self.stage1 = nn.Sequential(pools[0], *blocks[:3])
        self.stage2 = nn.Sequential(pools[1], *blocks[3:5])
        self.stage3 = nn.Sequential(*blocks[5:7])
        self.stage4 = nn.Sequential(pools[2], blocks[7])
        self.head = nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def layers(self) -> Iterator[Stem | FireBlock | nn.MaxPool2d]:
        """Stem, pools and blocks, in the order in which they run."""
        yield self.stem
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4):
            yield from stage  # type: ignore[misc]

    def forward(self, x: Tensor) -> Tensor:
        """Pixels N×3×S×S → features N×512, or logits once it has a head."""
        x = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(x)))))
        out: Tensor = self.head(x.mean((2, 3)))
        return out
