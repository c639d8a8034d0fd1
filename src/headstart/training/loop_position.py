"""Where in an epoch the loop stands, so that an interrupted epoch is finished and not begun again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from headstart.preserve import RandomState
from headstart.training.meters import Mean


@dataclass
class Position:
    """An epoch that has begun.

    Args:
        start: random numbers as they stood before the loader was asked for its order.
        batches: done. loss: over them. means: of the metrics over them. seconds: spent.
        now: random numbers where the epoch was left; None while it runs.
    """

    start: RandomState
    loss: Mean
    means: dict[str, Mean] = field(default_factory=dict)
    batches: int = 0
    seconds: float = 0.0
    now: RandomState | None = None

    def to_state(self, now: RandomState) -> dict[str, Any]:
        """Plain values for a checkpoint, the means as dicts; `now` is taken for an epoch that runs."""
        return {
            "start": vars(self.start),
            "now": vars(self.now or now),
            "batches": self.batches,
            "seconds": self.seconds,
            "loss": asdict(self.loss),
            "means": {name: asdict(mean) for name, mean in self.means.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Position:
        """The position that `to_state` told."""
        return cls(
            start=RandomState(**state["start"]),
            loss=Mean(**state["loss"]),
            means={name: Mean(**mean) for name, mean in state["means"].items()},
            batches=state["batches"],
            seconds=state["seconds"],
            now=RandomState(**state["now"]),
        )


def generators_of(*loaders: object) -> tuple[torch.Generator, ...]:
    """The random number generators that loaders and their samplers own, each once."""
    owners: Iterable[object] = [part for loader in loaders for part in (loader, getattr(loader, "sampler", None))]
    found = {id(g): g for owner in owners if isinstance(g := getattr(owner, "generator", None), torch.Generator)}
    return tuple(found.values())
