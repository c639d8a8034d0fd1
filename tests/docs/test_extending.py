"""The pages on extending headstart: their example is short, complete, and runs as it stands in a folder of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "extending"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "index.md")
KINDS = {"backbone", "head", "check", "analysis", "rule", "engine"}
MOST_LINES = 25


def example_of(page: Path) -> str:
    (example, *_) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    return str(example)


def test_each_kind_of_extension_has_a_page() -> None:
    assert {page.stem for page in PAGES} == KINDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_is_short_and_the_page_says_how_to_register(page: Path) -> None:
    code = [line for line in example_of(page).splitlines() if line.strip()]
    assert len(code) <= MOST_LINES
    assert f"register_{page.stem}" in page.read_text("utf-8")
    assert f"headstart.{'analyses' if page.stem == 'analysis' else page.stem + 's'}" in page.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", example_of(page)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert answer.stdout.strip()
