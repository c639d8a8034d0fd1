"""The small residual network of the row `embedded`, whose weights the project trained itself; see docs/embedded.md."""

from __future__ import annotations

from torch import Tensor, nn

from headstart.backbones.random_resnet import Block

STEM = 32
WIDTHS = (32, 96, 160, 224)  # of the stages; the last two at one sixteenth of the picture's side


class EmbeddedResNet(nn.Module):
    """A stem that quarters the side, then four residual blocks; its top is an empty place, for `replace_top`.

    The last block does not halve the side again: at 96 px it sees 6×6 places, which a mean can still tell apart.
    """

    def __init__(self) -> None:
        super().__init__()
        first = nn.Conv2d(3, STEM, 5, 2, padding=2, bias=False)
        self.stem = nn.Sequential(first, nn.BatchNorm2d(STEM), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1))
        self.stage1 = Block(STEM, WIDTHS[0], 1)
        self.stage2 = Block(WIDTHS[0], WIDTHS[1], 2)
        self.stage3 = Block(WIDTHS[1], WIDTHS[2], 2)
        self.stage4 = Block(WIDTHS[2], WIDTHS[3], 1)
        self.top = nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Pixels N×3×H×W → features N×224, or logits once it has a top."""
        x = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(x)))))
        out: Tensor = self.top(x.mean((2, 3)))
        return out


def embedded_resnet() -> EmbeddedResNet:
    """The network of the row `embedded`, its weights drawn at random."""
    return EmbeddedResNet()
