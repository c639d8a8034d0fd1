"""The process of the checks: whatever a student's code raises becomes a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.lab.exercises import run_checks
from headstart.lab.exercises.formulas import NORMALISE


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "setrlimit", lambda *limits: None)  # it would hold for the tests that follow


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def normalise(image):\n    return 1 / 0", "ZeroDivisionError: division by zero (line 3)"),
        ("def normalise(image):\n    raise SystemExit", "SystemExit"),
        ("import nothing_at_all", "The file cannot be run: ModuleNotFoundError"),
        ("EXERCISE = 3", "The file cannot be run: "),
        ("pass", "expected a function or class normalise, found none"),
    ],
)
def test_an_error_becomes_a_line(code: str, problem: str, tmp_path: Path) -> None:
    file, answer = tmp_path / "mine.py", tmp_path / "answer.json"
    file.write_text(f'EXERCISE = "normalise"\n{code}\n')

    run_checks.main(str(file), str(answer))

    found = json.loads(answer.read_text())["outcomes"]
    assert [check for check, _ in found] == list(NORMALISE.checks)
    assert all(problem in text for _, text in found)
