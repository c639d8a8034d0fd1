"""What the terminal draws of events and results: what goes to stdout, what to stderr, and how it is marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.cli.terminal import Terminal
from headstart.data.finding import Finding
from headstart.progress import Notice, Progress
from headstart.reports.next_steps import NextStep
from headstart.workbench.events import DatasetSummary, FilesWritten, NextSteps, Plan

DATASET = DatasetSummary(
    source="photos",
    images=5,
    classes=("cat", "dog"),
    counts={"train": {"cat": 2, "dog": 1}, "test": {"cat": 1, "dog": 1}},
    protocol="20 % of each class is the test.",
    findings=(
        Finding("duplicate", "warning", "2 images are duplicates.", groups=(("a.png", "b.png"),)),
        Finding("unreadable", "problem", "4 images cannot be read.", names=("1.png", "2.png", "3.png", "4.png")),
    ),
)


def test_a_dataset_is_a_table_of_classes_and_splits_with_totals(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().on_event(DATASET)

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Dataset"] in lines
    assert ["class", "train", "test"] in lines
    assert ["dog", "1", "1"] in lines
    assert ["total", "3", "2"] in lines


def test_findings_have_their_mark_and_their_first_names(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().on_event(DATASET)

    out = capsys.readouterr().out
    assert "! 2 images are duplicates." in out
    assert "a.png = b.png" in out
    assert "✗ 4 images cannot be read." in out
    assert "1.png, 2.png, 3.png, and 1 more" in out


def test_progress_and_notices_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()

    terminal.on_event(Notice("47 MB are downloaded."))
    for done in range(101):
        terminal.on_event(Progress("extract features", done, 100, seconds=1.0))

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("47 MB are downloaded.")
    assert err.count("extract features") == 11  # a log has a line at each tenth


def test_without_results_stdout_stays_empty_for_json(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(results=False)

    terminal.on_event(DATASET)
    terminal.on_event(Plan({"backbone": "resnet18"}))
    terminal.show("a result")

    assert capsys.readouterr().out == ""


def test_quiet_leaves_out_progress_dataset_and_plan_but_no_notice(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True)

    terminal.on_event(DATASET)
    terminal.on_event(Plan({"backbone": "resnet18"}))
    terminal.on_event(Progress("extract features", 1, 1, seconds=1.0))
    terminal.on_event(Notice("4 images were left out."))

    assert capsys.readouterr() == ("", "4 images were left out.\n")


def test_the_next_command_stays_on_one_line_and_names_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    command = "headstart predict " + "long_folder/" * 20 + "classifier.safetensors"

    Terminal().on_event(FilesWritten(Path("runs/[red]\x1b[31m"), ("run.json",), command))

    out = capsys.readouterr().out
    assert f"Next: {command}\n" in out
    assert "runs/[red]\\x1b[31m/" in out


def test_a_result_without_a_table_is_shown_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().show(("first", "second"))

    assert capsys.readouterr().out == "first\n\nsecond\n"


def test_what_to_improve_is_one_paragraph_with_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    steps = (NextStep("Add images of [b]bees."), NextStep("Compare backbones.", "headstart advise photos"))

    Terminal().on_event(NextSteps(steps))

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-2:] == ["  Add images of [b]bees. Compare backbones.", "    headstart advise photos"]
    Terminal(quiet=True).on_event(NextSteps(steps))
    Terminal().on_event(NextSteps(()))
    assert capsys.readouterr().out == ""


def test_a_command_is_never_cut_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    command = "headstart train a/long/path/to/photos --backbone efficientnet_lite0"

    Terminal().on_event(NextSteps((NextStep("Try another.", command),)))

    assert f"    {command}\n" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_name_of_a_written_file_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    names = ("classifier.onnx", "index.html", "page.js", "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs")

    Terminal().on_event(FilesWritten(Path("page"), names, ""))

    assert tuple(capsys.readouterr().out.split()[4:]) == names
