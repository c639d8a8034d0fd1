"""Shortcuts in audit and training: a border planted in one class is found, drawn photos have none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.heads.linear_probe import LinearProbe
from headstart.workbench.session import Session
from headstart.workbench.shortcuts import quick_shortcuts


def bordered(photos: Path, folder: Path, colour: tuple[int, int, int] = (255, 0, 0)) -> Path:
    """Discs and squares; a border around each disc."""
    for name in ("disc", "square"):
        (folder / name).mkdir(parents=True)
        for path in sorted((photos / name).iterdir()):
            with Image.open(path) as image:
                rgb = np.asarray(image).copy()
            if name == "disc":
                rgb[:4], rgb[-4:], rgb[:, :4], rgb[:, -4:] = (colour,) * 4
            Image.fromarray(rgb).save(folder / name / path.name)
    return folder


@pytest.mark.slow
def test_audit_finds_a_planted_border_and_nothing_without_it(photos: Path, tmp_path: Path) -> None:
    folder = bordered(photos, tmp_path / "bordered")
    found = hs.audit(folder, shortcuts=True, backbone="embedded", on_event=None).findings[-1]
    assert (found.kind, found.severity) == ("shortcuts", "warning")
    assert "border 100.0" in found.message
    clean = hs.audit(photos, shortcuts=True, backbone="embedded", on_event=None).findings[-1]
    assert (clean.kind, clean.severity) == ("shortcuts", "note")
    assert {one["family"] for one in clean.detail["shortcuts"]} == {
        "file name",
        "colours",
        "border",
        "blurred picture",
    }
    assert all(one.kind != "shortcuts" for one in hs.audit(photos, on_event=None).findings)
    with pytest.raises(hs.RecipeError, match="--shortcuts"):
        hs.audit(photos, backbone="embedded", on_event=None)


def test_every_training_looks_for_them(run: hs.Run) -> None:
    found = run.record["findings"][-1]
    assert (found["kind"], found["severity"]) == ("shortcuts", "note")
    assert "No shortcut found" in (run.folder / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_a_training_finds_the_border_from_what_the_audit_knows(photos: Path, tmp_path: Path) -> None:
    dataset = Session().dataset(bordered(photos, tmp_path / "bordered", (255, 255, 255))).with_split(0.2, 0)
    labels = dataset.labels[dataset.indices("train")]
    perfect = SimpleNamespace(path=SimpleNamespace(held_scores=np.eye(2)[labels], held_labels=labels))
    probe: LinearProbe = perfect  # type: ignore[assignment]
    found = quick_shortcuts(dataset, probe)
    assert found.severity == "warning"
    assert "border" in found.message
