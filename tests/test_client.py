"""Client: what is no server, no address or no image is one of our errors; it needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headstart.client import Client
from headstart.errors import DataError, RecipeError, RunError


def test_mistakes_are_errors_of_ours(tmp_path: Path) -> None:
    client = Client("http://127.0.0.1:9", timeout=5)
    with pytest.raises(RunError, match="headstart serve"):
        client.card()
    with pytest.raises(DataError, match="an image file"):
        client.predict(tmp_path / "none.png")
    with pytest.raises(RecipeError, match="an address such as"):
        Client("file:///etc/passwd")


@pytest.mark.slow
def test_it_needs_no_torch() -> None:
    code = "import sys, headstart.client; print({'torch', 'numpy'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
