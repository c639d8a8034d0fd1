"""advise without a word ranks backbones; its commands have their own help."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Headstart


@pytest.mark.slow
def test_a_folder_alone_goes_to_backbones_and_a_mistake_has_no_traceback(headstart: Headstart, tmp_path: Path) -> None:
    for words in (["advise"], ["advise", "backbones"]):
        answer = headstart(*words, str(tmp_path / "gone"), "--backbones", "embedded")
        assert answer.code == 2
        assert "data error" in answer.err
        assert "gone" in answer.err.replace("\n", "")
    answer = headstart("advise", "--backbones", "resnt18", tmp_path)
    assert answer.code == 2
    assert "resnet18" in answer.err


@pytest.mark.slow
def test_help_names_the_commands(headstart: Headstart) -> None:
    assert all(name in headstart("advise", "--help").out for name in ("backbones", "more", "label", "augment"))
    assert "--minutes" in headstart("advise", "backbones", "--help").out
    assert "advise" in headstart("--help").out
