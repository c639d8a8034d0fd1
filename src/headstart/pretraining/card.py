"""The card of pretrained weights: from what, how, how well, for what, as plain JSON beside the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.weight_files import read_weights, tensor_hash
from headstart.pretraining.recipe import PretrainingRecipe
from headstart.pretraining.verdict import Verdict

CARD = "card.json"
GOOD_FOR = (
    "starting without a network: drawn, graphic and textured images, hands and simple things before plain backgrounds; "
    "examples and tests"
)
HOW = (
    "block by block: each block was given the teacher's map before it and learnt the one after it; in the last epochs "
    "all ran on their own maps. The blocks have the form of the teacher's, with batch norm and shortcuts; none of its "
    "weights was copied"
)
NOT_FOR = (
    "natural objects, fine-grained kinds, anything where accuracy matters and ImageNet weights can be had: those are "
    "far better"
)


def write_card(
    folder: Path, weights: Path, recipe: PretrainingRecipe, teacher: Backbone, verdict: Verdict | None
) -> Path:
    """Write `card.json` beside the weights: recipe, log, teacher, gate, hashes, licence.

    Args:
        verdict: of the gate; None when no real images were there, and the card says so.
    """
    log: dict[str, Any] | None = json.loads((folder / "log.json").read_text(encoding="utf-8"))
    runs: list[dict[str, Any]] = []
    while log is not None:  # the last first
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
        "gate": None if verdict is None else verdict.to_dict(),
        "good_for": GOOD_FOR,
        "not_for": NOT_FOR,
    }
    path = folder / CARD
    path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return path


def _summary(epochs: Sequence[Mapping[str, float]]) -> dict[str, object]:
    """Losses of about ten epochs, evenly spread, the last among them; hours of the loop by the clock."""
    step = max(len(epochs) // 10, 1)
    shown = sorted({*range(0, len(epochs), step), len(epochs) - 1})
    return {
        "epochs": len(epochs),
        "loss": {str(epochs[i]["epoch"]): round(epochs[i]["loss"], 5) for i in shown},
        "hours": round(sum(one["seconds"] for one in epochs) / 3600, 2),
    }
