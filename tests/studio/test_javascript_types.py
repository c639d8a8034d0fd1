"""The JavaScript of the page has no type errors, by its JSDoc comments; skipped without npx or its registry."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NPX = shutil.which("npx")


def command() -> list[str]:
    """What `make types-js` runs."""
    line = re.search(r"^types-js:.*\n\tnpx (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert line is not None
    return [NPX or "npx", *line[1].split()]


@pytest.mark.slow
@pytest.mark.skipif(NPX is None, reason="npx is not installed")
def test_the_page_has_no_type_errors() -> None:
    words = command()
    tool = [*words[: words.index("tsc") + 1], "--version"]
    there = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    if there.returncode:
        pytest.skip(f"typescript cannot be fetched: {there.stderr.strip()[-200:]}")

    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert found.returncode == 0, found.stdout
