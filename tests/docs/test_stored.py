"""Stored outputs of the site: of the text of today, without a trace of a machine, and (slow) run anew."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from docs_modules import load

DOCS = Path(__file__).parents[2] / "docs"
OUTPUTS = sorted((DOCS / "outputs").rglob("*.json"))
LARGEST = 1_500_000  # bytes of all that is stored, pictures too


@pytest.fixture
def stored() -> ModuleType:
    return load("stored")


def test_what_is_stored_comes_back_for_the_same_blocks_only(
    stored: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "OUTPUTS", tmp_path)
    stored.save("how_to/one", "key", ["a\nb", ""])
    assert stored.load("how_to/one", "key") == ["a\nb", ""]
    assert stored.load("how_to/one", "another key") is None
    assert stored.load("how_to/two", "key") is None


def test_numbers_and_what_the_machine_decides_may_differ_but_not_the_words(stored: ModuleType) -> None:
    before = ["engine     onnxruntime: 3.0 times as fast\nResults of 12 images, all of them correct: 94.8 % [90, 97]"]
    other = ["engine     eager\nResults of 11 images, all of them correct: 91.1 % [88,\n  95.5]"]
    assert stored.words(before) == stored.words(other)
    assert not stored.stale(before, other)
    said = stored.stale(before, ["Results of 11 pictures, each of them right: 94.8 % [90, 97]"])
    assert "images, all" in said
    assert "pictures, each" in said


def test_one_word_in_ten_may_be_another(stored: ModuleType) -> None:
    said = [f"word{letter}" for letter in "abcdefghijklmnopqrst"]
    for changed, is_stale in ((1, False), (2, False), (3, True), (20, True)):
        fresh = [*said[changed:], *(["another"] * changed)]
        assert bool(stored.stale([" ".join(said)], [" ".join(fresh)])) == is_stale, changed


def test_pictures_are_drawn_by_the_build(stored: ModuleType) -> None:
    assert stored.is_drawn(["", "\n\n![A figure](/_generated/pictures/gallery-figure-1.webp)"])
    assert not stored.is_drawn(["````text\nfigure.png\n````"])


def test_what_is_stored_belongs_to_the_blocks_of_today(stored: ModuleType) -> None:
    runner, notebooks = load("run_blocks"), load("run_notebooks")
    keys = {name: runner.text_key(text) for name, text in runner.pages().items() if runner.runs(name, text)}
    keys |= {f"notebooks/{path.stem}": stored.key_of(path.read_text("utf-8")) for path in notebooks.paths()}
    names = {path.relative_to(stored.OUTPUTS).with_suffix("").as_posix() for path in OUTPUTS}

    assert names <= set(keys), "of a page that is gone"
    assert {name for name in keys if name.startswith("notebooks/")} <= names
    assert not {"gallery", "how_to/look_inside"} & names  # they draw
    assert not [name for name in names if stored.load(name, keys[name]) is None], "make outputs"


def test_every_picture_that_is_stored_is_shown_and_all_of_them_are_small(stored: ModuleType) -> None:
    shown = {name for path in OUTPUTS for name in re.findall(r"/_generated/pictures/([^)]+)", path.read_text("utf-8"))}
    assert shown == {path.name for path in stored.PICTURES.iterdir()}
    assert sum(path.stat().st_size for path in stored.OUTPUTS.rglob("*") if path.is_file()) < LARGEST


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: path.stem)
def test_nothing_that_is_stored_names_a_machine_or_a_time_of_day(path: Path) -> None:
    for line in lines_of(path):
        assert not re.search(r"(?<![\w.:/])/(?:work|home|Users|root|tmp|dev/shm)/", line), line
        assert not re.search(r"\d\d:\d\d:\d\d(?!\.\d+ )", re.sub(r"@\d\d:\d\d:\d\d", "", line)), line
        assert "token=" not in line or "token=…" in line


def lines_of(path: Path) -> Iterator[str]:
    for output in json.loads(path.read_text("utf-8"))["outputs"]:
        yield from output


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="two pages ask their server with curl")
def test_every_block_of_every_page_runs_and_prints_what_is_stored(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(DOCS / "stored.py"), "--check"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert " pages and 0 notebooks run: no problems" in done.stdout
