"""The files of a run: strict JSON, the measured classifier, cells that no spreadsheet takes for formulas."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pytest

from drawn_photos import draw_folder
from headstart.workbench.run import FILES, Run
from headstart.workbench.train import train
from headstart.workbench.write_run import next_command


def test_a_run_has_all_its_files_and_nothing_half_written(run: Run) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == sorted(FILES)
    assert [path.name for path in run.folder.parent.iterdir()] == ["photos"]


def test_the_record_is_strict_json_with_what_makes_the_run_again(run: Run) -> None:
    text = (run.folder / "run.json").read_text("utf-8")
    record = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} in JSON"))
    assert record["version"] == 2
    assert {"recipe", "data", "versions", "timings", "head", "backbone", "evaluation", "findings"} <= set(record)
    assert record["data"]["counts"]["test"] == {"disc": 3, "square": 3, "stripes": 3}


def test_predictions_are_those_of_the_saved_classifier_and_add_up_to_one(run: Run, photos: Path) -> None:
    rows = run.predictions()
    assert len(rows) == 48
    for row in rows:
        numbers = [float(row[f"p({name})"]) for name in run.evaluation.classes]
        assert sum(numbers) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == run.evaluation.classes[int(np.argmax(numbers))]
    image = photos / rows[0]["path"]
    assert run.classifier.predict(image).probability == pytest.approx(float(rows[0]["probability"]), abs=2e-4)


@pytest.mark.slow
def test_cells_that_a_spreadsheet_would_obey_are_neutralised(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=8)
    (folder / "disc").rename(folder / "=cmd|calc")

    run = train(folder, out=tmp_path / "run", backbone="embedded", inside=False)

    assert ",'=cmd|calc," in (run.folder / "predictions.csv").read_text("utf-8")
    assert {row["label"] for row in run.predictions()} == {"=cmd|calc", "square", "stripes"}


def test_the_next_command_quotes_what_a_shell_would_split() -> None:
    expected = "headstart predict 'runs/my photos/classifier.safetensors' NEW_IMAGES"
    assert next_command(Path("runs/my photos")) == expected


def test_the_record_and_the_report_hold_the_call_that_made_the_run(run: Run, photos: Path) -> None:
    command = run.record["command"]

    assert command == f"headstart.train({str(photos)!r}, out={str(run.folder)!r}, backbone='embedded', engine='eager')"
    assert html.escape(command, quote=False).replace("'", "&#39;") in (run.folder / "report.html").read_text("utf-8")
