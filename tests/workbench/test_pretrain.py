"""The verb pretrain: from a recipe and a teacher's file to weights that the backbone takes, with their card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from headstart import progress
from headstart.backbones.backbone import load_backbone
from headstart.errors import BackboneError, RecipeError
from headstart.pretraining.recipe import RECIPES
from headstart.workbench import events
from headstart.workbench.pretrain import pretrain
from pretraining.made_bank import TINY, untaught_teacher


@pytest.fixture
def teacher_file(tmp_path: Path) -> Path:
    path = tmp_path / "teacher.safetensors"
    save_file(dict(untaught_teacher().network.state_dict()), path, metadata={"licence": "a made one"})
    return path


@pytest.mark.slow
def test_weights_log_and_card_come_out_and_the_backbone_takes_them(
    teacher_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    told: list[progress.Event] = []

    stopped = pretrain("tiny", out=tmp_path / "out", weights=str(teacher_file), minutes=0, on_event=told.append)
    file = pretrain("tiny", out=tmp_path / "out", weights=str(teacher_file), on_event=told.append)

    assert stopped is None
    assert any(isinstance(event, progress.Notice) and "the same command continues" in event.text for event in told)
    assert isinstance(told[-1], events.FilesWritten)
    assert set(told[-1].files) <= {path.name for path in (tmp_path / "out").iterdir()}
    assert file is not None
    backbone = load_backbone("embedded", weights=str(file))
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert card["tensors_sha256"] == backbone.weights.sha256
    assert card["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["taught_by"]["source"] == "teacher.safetensors"
    assert card["taught_by"]["licence"] == "a made one"
    assert card["trained_on"] == "24 pictures drawn by headstart; no photograph"
    assert [run["log"]["epochs"] for run in card["runs"]] == [3]
    assert card["gate"] is None


def test_mistakes_are_told_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean small"):
        pretrain("smaal", out=tmp_path / "out")
    with pytest.raises(BackboneError, match="squeezenet1_0 on disk"):
        pretrain("proof", out=tmp_path / "out", offline=True)
    assert not (tmp_path / "out").exists()
