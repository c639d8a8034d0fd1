"""The check of a release finds what is missing, foreign or too large; every extra has a proof that it can be used."""

from __future__ import annotations

import importlib.util
import io
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from headstart.recipe_file import tomllib

ROOT = Path(__file__).parents[2]
OURS = {"dev", "test", "docs"}
"""Extras of the development of headstart itself."""


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(folder / "headstart-1-py3-none-any.whl", "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return folder / "headstart-1-py3-none-any.whl"


def test_a_whole_wheel_and_source_distribution_pass(tmp_path: Path) -> None:
    check = script("check_distribution")
    with tarfile.open(tmp_path / "headstart-1.tar.gz", "w:gz") as archive:
        for name in (*(f"src/{name}" for name in check.NEEDED), "pyproject.toml", "README.md"):
            archive.addfile(tarfile.TarInfo(f"headstart-1/{name}"), io.BytesIO())

    assert list(check.problems(tmp_path / "headstart-1.tar.gz")) == []
    assert list(check.problems(wheel(tmp_path, [*check.NEEDED, "headstart-1.dist-info/METADATA"]))) == []


@pytest.mark.parametrize(
    "name", ["tests/test_x.py", "headstart/__pycache__/x.pyc", "headstart/photo.jpg", "headstart/x.so", "setup.py"]
)
def test_what_is_no_part_of_it_is_found(name: str, tmp_path: Path) -> None:
    check = script("check_distribution")
    (problem,) = check.problems(wheel(tmp_path, [*check.NEEDED, name]))
    assert name in problem


def test_what_is_missing_or_too_large_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = script("check_distribution")
    monkeypatch.setattr(check, "LARGEST", 100)
    large, missing = check.problems(wheel(tmp_path, list(check.NEEDED[1:])))
    assert "at most 100 are allowed" in large
    assert missing.endswith("lacks headstart/__init__.py")


def test_every_extra_is_proved() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(script("extras").PROVES) == {"", *declared} - OURS
