"""Each source file has a test file of its name, or stands here with a reason."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE, TESTS = ROOT / "src" / "headstart", ROOT / "tests"

ELSEWHERE = {
    "backbones/own_specs.py": "plain data; backbones/test_catalogue.py runs over each of its specs",
    "workbench/values.py": "imports alone, so that a face needs no other room; the faces' tests use them",
}
"""Source file → where its test is, and why not under its own name."""


def sources() -> list[Path]:
    return sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if not path.name.startswith("__"))


def test_each_source_file_has_a_test_file_of_its_name() -> None:
    missing = [str(path) for path in sources() if not (TESTS / path.parent / f"test_{path.name}").exists()]
    assert sorted(missing) == sorted(ELSEWHERE)


def test_no_exception_outlives_its_file() -> None:
    assert not [name for name in ELSEWHERE if not (SOURCE / name).exists()]
