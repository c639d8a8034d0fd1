"""Sink: where the numbers of a run are sent; and what is sent, as flat names and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headstart.files import printable


class Sink(Protocol):
    """A tracker that takes one run; methods are called in this order, from one thread.

    Attributes:
        at: the folder or address that it sends to.
        look: the command that shows it there.
    """

    at: str
    look: str

    def start(self, run_id: str, name: str) -> bool:
        """Open the run of that id; False: it is there already, complete, and nothing more is to be sent."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at one step (an epoch)."""

    def end(self, params: Mapping[str, str], metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """Options, final numbers and files of the finished run; then it is complete."""

    def abandon(self) -> None:
        """Instead of `end`: take away what can be of a run that cannot be sent; the next `start` begins again."""


def params_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The options of a run as text, and which data and weights it is about."""
    texts = {name: str(value) for name, value in record["recipe"].items()}
    head = record.get("head", {})
    found = {
        **texts,
        "data.fingerprint": str(record["data"]["fingerprint"]),
        "data.name": str(record["data"].get("name", "")),
        "backbone.fingerprint": str(record["backbone"]["fingerprint"]),
        "head.kind": str(head.get("kind", "")),
        "head.stages": ", ".join(map(str, head.get("stages", ()))),
    }
    return {name: printable(text) for name, text in found.items()}  # trackers take UTF-8 only


def metrics_of(record: Mapping[str, Any]) -> dict[str, float]:
    """All measured numbers of a run; an interval is three: `accuracy`, `accuracy_low`, `accuracy_high`."""
    evaluation = record["evaluation"]
    found: dict[str, float] = {}
    for name in ("accuracy", "accuracy_over_groups", "balanced_accuracy", "macro_f1", "without_leaks"):
        found |= _interval(name, evaluation.get(name))
    calibration = evaluation.get("calibration") or {}
    found |= _interval("ece", calibration.get("ece"))
    found |= {name: calibration[name] for name in ("nll", "brier") if name in calibration}
    for name, baseline in (evaluation.get("baselines") or {}).items():
        found |= _interval(f"baseline/{name}", baseline.get("accuracy"))
    found |= {f"seconds/{name}": seconds for name, seconds in (record.get("timings") or {}).items()}
    return {name: float(value) for name, value in found.items() if _is_number(value)}


def epochs_of(record: Mapping[str, Any]) -> list[tuple[int, dict[str, float]]]:
    """The epochs of fine-tuning, if there was any, each with its numbers."""
    tuned = record.get("fine_tuning") or record.get("tuning") or {}
    return [(int(epoch["epoch"]), scalars_of(epoch)) for epoch in tuned.get("epochs", ()) if isinstance(epoch, dict)]


def scalars_of(epoch: Mapping[str, Any]) -> dict[str, float]:
    """Loss, metrics and learning rates of one epoch, as `EpochRecord.to_dict` writes it."""
    values: dict[str, Any] = {"train/loss": epoch.get("loss"), "validation/loss": epoch.get("val_loss")}
    values |= {f"train/{name}": value for name, value in (epoch.get("metrics") or {}).items()}
    values |= {f"validation/{name}": value for name, value in (epoch.get("val_metrics") or {}).items()}
    values |= {f"lr/{i}": rate for i, rate in enumerate(epoch.get("rates") or ())}
    return {name: float(value) for name, value in values.items() if _is_number(value)}


def _interval(name: str, value: Mapping[str, Any] | None) -> dict[str, Any]:
    if not value:
        return {}
    return {name: value.get("value"), f"{name}_low": value.get("low"), f"{name}_high": value.get("high")}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
