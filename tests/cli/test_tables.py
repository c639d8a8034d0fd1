"""The tables of results that need no torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Headstart
from headstart.cli.tables import console, print_analyses


def test_backbones_have_size_and_licence_on_one_line(headstart: Headstart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    lines = headstart("backbones").out.splitlines()

    resnet18 = next(line for line in lines if line.startswith("resnet18"))
    assert "11.7" in resnet18
    assert "BSD-3-Clause" in resnet18
    assert "--backbone timm:NAME" in lines[-1]


def test_the_cache_names_its_folder_and_its_limit(headstart: Headstart, tmp_path: Path) -> None:
    answer = headstart("cache")

    assert str(tmp_path / "cache") in answer.out.replace("\n", "")
    assert "--cache-limit-gb" in answer.out


def test_the_console_is_as_wide_as_the_variable_says_and_else_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert console().width == 72

    monkeypatch.delenv("COLUMNS")
    assert console().width == 100


def test_names_from_outside_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_analyses([{"name": "[red]mine\x1b[31m", "about": "an analysis of a plug-in"}])

    assert "[red]mine\\x1b[31m" in capsys.readouterr().out
