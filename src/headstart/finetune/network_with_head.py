"""A backbone's stages and a linear head as one module that can be trained, and the Head it becomes again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone
from headstart.heads.head import Head


class HeadedNetwork(nn.Module):
    """Pixels N×3×S×S → scores N×C: stages pooled, each scaled to unit length where the head wants it, a linear layer.

    It shares its weights with the backbone, so that training it trains the backbone. With a head that was solved on the
    backbone's features it gives the same scores as the head (in float32 instead of float64).

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

    def forward(self, pixels: Tensor) -> Tensor:
        """Scores N×C, before the temperature."""
        return self.scores(self.body(pixels))

    def scores(self, features: Tensor) -> Tensor:
        """Scores N×C of raw features N×D."""
        if self.unit:
            features = torch.cat([F.normalize(x, dim=1) for x in torch.split(features, list(self.widths), 1)], 1)
        scores: Tensor = self.head(features)
        return scores

    def take(self, head: Head) -> None:
        """Start from a solved head."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(np.ascontiguousarray(head.weight.T)))
            self.head.bias.copy_(torch.from_numpy(head.bias))

    def to_head(self, temperature: float, *, flip_tta: bool = False) -> Head:
        """The linear layer as the Head of a Classifier."""
        weight = self.head.weight.detach().cpu().double().numpy().T
        bias = self.head.bias.detach().cpu().double().numpy()
        return Head(
            kind="trained",
            stages=self.stages,
            weight=np.ascontiguousarray(weight),
            bias=bias,
            temperature=temperature,
            unit=self.unit,
            flip_tta=flip_tta,
        )
