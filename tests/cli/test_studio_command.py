"""`headstart studio`: what it takes, and what it says when it cannot begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Headstart


@pytest.mark.slow
def test_help_and_a_file_for_a_folder(headstart: Headstart, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")

    assert "--no-browser" in headstart("studio", "--help").out
    refused = headstart("studio", str(tmp_path / "f"), "--no-browser")
    assert refused.code == 2
    assert "a file" in refused.err
