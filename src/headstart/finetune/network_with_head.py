"""A backbone's stages and a linear head as one module that can be trained, and the Head it becomes again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone
from headstart.finetune.settings import PLAIN
from headstart.heads.head import Head

_LEAST = 1e-3  # of the features' own size: features that hardly differ between images allow no large step
_TINY = 1e-12


def lay_out(module: nn.Module, form: str) -> None:
    """Bring the weights of a module into the memory layout of a form of a step, in place."""
    module.to(memory_format=torch.contiguous_format if form == PLAIN else torch.channels_last)


class HeadedNetwork(nn.Module):
    """Pixels N×3×S×S → scores N×C: stages pooled, each scaled to unit length where the head wants it, a linear layer.

    It shares its weights with the backbone, so that training it trains the backbone. With a head that was solved on the
    backbone's features it gives the same scores as the head (in float32 instead of float64).

    Attributes:
        step_scales: of the weights and of the biases of the head, once it is centred; see `centre`.

    Args:
        backbone: whose network is run. stages: whose features the head takes, in forward order. classes: C.
        unit: whether each stage is scaled to unit length.
    """

    def __init__(self, backbone: Backbone, stages: Sequence[str], classes: int, *, unit: bool = True) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.widths = tuple(backbone.spec.stage(name).width for name in self.stages)
        self.unit = unit
        self.body: nn.Module = backbone.feature_extractor(self.stages).body
        # zeros: nothing is drawn, so the caller's random numbers stay as they are
        self.head: nn.Linear = nn.utils.skip_init(nn.Linear, sum(self.widths), classes)  # type: ignore[no-untyped-call]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(sum(self.widths)))
        self.step_scales: tuple[float, float] | None = None

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores N×C, before the temperature."""
        return self.scores(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """Raw features N×D."""
        features: Tensor = self.body(pixels)
        return features

    def scores(self, features: Tensor) -> Tensor:
        """Scores N×C of raw features N×D."""
        with torch.autocast(
            features.device.type, enabled=False
        ):  # what differs between images is small beside the mean
            scores: Tensor = self.head(self._scaled(features.float()) - self.mean)
        return scores

    def centre(self, features: Tensor) -> None:
        """Let the linear layer take features minus their mean over some training images; scores stay as they are.

        Averaged maps are all positive, and their mean is longer than what differs between images: a step of Adam, which
        moves all weights at once, moved every score by up to 0.8 of their standard deviation at a rate of 0.03
        (ResNet-18 on three stages). `step_scales` becomes the size of a step, of weights and of biases, that moves a
        score by no more than one standard deviation.

        Args:
            features: raw, N×D.
        """
        x = self._scaled(features.detach().double())
        mean = x.mean(dim=0)
        weight = self.head.weight.detach().double()
        scores = (x - mean) @ weight.T  # N×C
        # a head that begins at zero: the logits of a fitted softmax are of the order of 1
        spread = float(scores.square().mean().sqrt()) or 1.0
        distance = float((x - mean).abs().sum(dim=1).mean())
        with torch.no_grad():
            self.head.bias.add_((weight @ (mean - self.mean.double())).to(self.head.bias))
            self.mean.copy_(mean)
        self.step_scales = (spread / max(distance, _LEAST * float(x.abs().sum(dim=1).mean()), _TINY), spread)

    def _scaled(self, features: Tensor) -> Tensor:
        if not self.unit:
            return features
        return torch.cat([F.normalize(x, dim=1) for x in torch.split(features, list(self.widths), 1)], 1)

    def take(self, head: Head) -> None:
        """Start from a solved head."""
        with torch.no_grad():
            self.mean.zero_()
            self.head.weight.copy_(torch.from_numpy(np.ascontiguousarray(head.weight.T)))
            self.head.bias.copy_(torch.from_numpy(head.bias))

    def to_head(self, temperature: float, *, flip_tta: bool = False) -> Head:
        """The linear layer as the Head of a Classifier."""
        weight = self.head.weight.detach().cpu().double().numpy().T
        bias = self.head.bias.detach().cpu().double().numpy() - self.mean.cpu().double().numpy() @ weight
        return Head(
            kind="trained",
            stages=self.stages,
            weight=np.ascontiguousarray(weight),
            bias=bias,
            temperature=temperature,
            unit=self.unit,
            flip_tta=flip_tta,
        )
