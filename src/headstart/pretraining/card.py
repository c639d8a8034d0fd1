"""The card of pretrained weights: data, method, evaluation, intended use, as JSON beside the file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.weight_files import read_weights, tensor_hash
from headstart.files import write_json
from headstart.pretraining.gate_result import GateResult
from headstart.pretraining.pretrain import LOG
from headstart.untrusted import read_object

CARD = "card.json"
GOOD_FOR = (
    "starting without a download: drawn, graphic and textured images, hands and simple objects on plain backgrounds; "
    "examples and tests"
)
HOW = (
    "blockwise distillation: each block got the teacher's map before it and learnt to predict the one after it; in the "
    "last epochs all ran on the student's own maps. The blocks have the structure of the teacher's, with batch norm "
    "and shortcuts; none of its weights was copied"
)
NOT_FOR = (
    "natural objects, fine-grained classes, any task where accuracy matters and ImageNet weights are available: those "
    "are far better"
)


def write_card(weights: Path, teacher: Backbone, gate: GateResult | None) -> Path:
    """Write `card.json` beside the weights and their log: recipe, log, teacher, gate, hashes, licence.

    Args:
        gate: None if there were no real images; the card says so.
    """
    log: dict[str, Any] | None = read_object(weights.parent / LOG, {"recipe": dict, "epochs": list})
    runs: list[dict[str, Any]] = []
    while log is not None:  # the last one first
        runs.insert(0, {"recipe": log["recipe"], "log": _summary(log["epochs"])})
        log = log.get("started_from")
    pictures = sum(run["recipe"]["pictures"] for run in runs)
    card = {
        "name": "embedded",
        "weights": weights.name,
        "file_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "tensors_sha256": tensor_hash(read_weights(weights).state),
        "licence": "MIT (headstart)",
        "trained_on": f"{pictures:,} pictures drawn by headstart; no photograph",
        "how": HOW,
        "taught_by": {"name": teacher.spec.name, "licence": teacher.spec.licence, **teacher.weights.to_dict()},
        "runs": runs,
        "versions": runtime.versions(),
        "gate": None if gate is None else gate.to_dict(),
        "good_for": GOOD_FOR,
        "not_for": NOT_FOR,
    }
    write_json(weights.parent / CARD, card)
    return weights.parent / CARD


def _summary(epochs: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """Losses of about ten epochs, evenly spread, the last included; wall-clock hours of the loop."""
    step = max(len(epochs) // 10, 1)
    shown = sorted({*range(0, len(epochs), step), len(epochs) - 1})
    return {
        "epochs": len(epochs),
        "loss": {str(epochs[i]["epoch"]): round(epochs[i]["loss"], 5) for i in shown},
        "hours": round(sum(one["seconds"] for one in epochs) / 3600, 2),
    }
