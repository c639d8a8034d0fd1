"""Decided: what a fine-tuning settled before its first step, as a value that run.json and a resumed run read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from headstart.finetune.cost import Cost


@dataclass(frozen=True)
class Trial:
    """What a pilot tries: a strategy and a learning rate."""

    strategy: str
    lr: float

    def __str__(self) -> str:
        return f"{self.strategy} at {self.lr:g}"


@dataclass(frozen=True)
class FineTunePlan:
    """What was settled before the first step.

    Args:
        strategy: `probe` where nothing is fine-tuned. epochs, lr, halvings: as in TuningSettings.
        cost: predicted, as `Cost.to_dict`. reasons: sentences. pilots: strategy and rate → log loss on held-out
            images.
    """

    strategy: str
    epochs: int
    lr: float
    halvings: int
    cost: Cost
    reasons: tuple[str, ...] = ()
    pilots: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "cost": self.cost.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FineTunePlan:
        """From the plain values."""
        cost = {name: value for name, value in values["cost"].items() if name != "seconds"}  # follows from the rest
        return cls(**{**values, "cost": Cost(**cost), "reasons": tuple(values["reasons"])})
