"""The plan of a fine-tuning, made before its first step: a value that run.json and a resumed run read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.finetune.cost import Cost
from headstart.finetune.judgement import Judgement
from headstart.finetune.settings import PLAIN
from headstart.plain import Plain
from headstart.untrusted import check_fields


@dataclass(frozen=True)
class Trial:
    """A candidate of `auto`: a strategy and a learning rate; a rate of 0 is found by a range test."""

    strategy: str
    lr: float

    def __str__(self) -> str:
        return f"{self.strategy} at {self.lr:g}" if self.lr else self.strategy


@dataclass(frozen=True, kw_only=True)
class FineTunePlan(Plain):
    """What was decided before the first step.

    Args:
        strategy: `probe` where nothing is fine-tuned. epochs, lr, halvings, form: as in FineTuneSettings.
        cost: predicted. reasons: sentences. judgement: of `auto`, by folds of the training images.
    """

    strategy: str
    epochs: int = 0
    lr: float = 0.0
    halvings: int = 0
    form: str = PLAIN
    cost: Cost = field(default_factory=Cost)
    reasons: tuple[str, ...] = ()
    judgement: Judgement | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FineTunePlan:
        """From the plain values.

        Raises:
            KeyError, TypeError, ValueError: a value is missing, unknown or of another type.
        """
        cost = {name: value for name, value in values["cost"].items() if name != "seconds"}  # follows from the rest
        judged = values["judgement"]
        made = {
            "cost": Cost(**cost),
            "reasons": tuple(values["reasons"]),
            "judgement": None if judged is None else Judgement.from_dict(judged),
        }
        return check_fields(cls(**{**values, **made}))
