"""The card of pretrained weights: what it says follows from the log, the weights and the gate."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from headstart.pretraining.card import write_card
from headstart.pretraining.gate_result import GateResult
from pretraining.made_bank import TINY, untaught_teacher


@pytest.mark.slow
def test_the_card_names_every_run_the_teacher_and_the_gate(tmp_path: Path) -> None:
    weights = tmp_path / "embedded.safetensors"
    save_file(untaught_teacher().state(), weights)
    epochs = [{"epoch": number, "loss": 1 / number, "seconds": 1800.0} for number in range(1, 31)]
    first = {"recipe": TINY.to_dict(), "epochs": epochs[:2]}
    log = {"recipe": {**TINY.to_dict(), "name": "second"}, "epochs": epochs, "started_from": first}
    (tmp_path / "log.json").write_text(json.dumps(log), encoding="utf-8")
    gate = GateResult({"rps28": {"embedded": np.array([0.9, 0.8]), "random": np.array([0.5, 0.6])}})

    path = write_card(weights, untaught_teacher(), gate)

    card = json.loads(path.read_text(encoding="utf-8"))
    assert [run["recipe"]["name"] for run in card["runs"]] == ["tiny", "second"]
    assert card["trained_on"] == "48 pictures drawn by headstart; no photograph"
    assert card["runs"][1]["log"]["hours"] == 15.0
    assert list(card["runs"][1]["log"]["loss"]) == ["1", "4", "7", "10", "13", "16", "19", "22", "25", "28", "30"]
    assert card["file_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert card["taught_by"]["name"] == "squeezenet1_0"
    assert card["gate"]["table"]["rps28"]["embedded"] == 0.85
    assert card["gate"]["passed"] is False
