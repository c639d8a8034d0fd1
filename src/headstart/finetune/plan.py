"""The plan of a fine-tuning, made before its first step: a value that run.json and a resumed run read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.finetune.cost import Cost
from headstart.plain import Plain
from headstart.untrusted import check_fields


@dataclass(frozen=True)
class Trial:
    """What a pilot tries: a strategy and a learning rate."""

    strategy: str
    lr: float

    def __str__(self) -> str:
        return f"{self.strategy} at {self.lr:g}"


@dataclass(frozen=True, kw_only=True)
class FineTunePlan(Plain):
    """What was decided before the first step.

    Args:
        strategy: `probe` where nothing is fine-tuned. epochs, lr, halvings: as in FineTuneSettings.
        cost: predicted. reasons: sentences. pilots: strategy and learning rate → log loss on held-out images.
    """

    strategy: str
    epochs: int = 0
    lr: float = 0.0
    halvings: int = 0
    cost: Cost = field(default_factory=Cost)
    reasons: tuple[str, ...] = ()
    pilots: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FineTunePlan:
        """From the plain values.

        Raises:
            KeyError, TypeError, ValueError: a value is missing, unknown or of another type.
        """
        cost = {name: value for name, value in values["cost"].items() if name != "seconds"}  # follows from the rest
        return check_fields(cls(**{**values, "cost": Cost(**cost), "reasons": tuple(values["reasons"])}))
