"""A package with one extension of each kind is built into a wheel, installed, and used from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import headstart

EXAMPLE = Path(__file__).parent / "example"
SOURCE = Path(headstart.__file__).parents[1]

Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow  # every command is a process of its own


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel of the example is installed."""
    folder = tmp_path_factory.mktemp("plugin")
    source, pip = shutil.copytree(EXAMPLE, folder / "source"), [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = folder.glob("headstart_example_plugin-*.whl")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)]
    subprocess.run([*pip, *install], check=True, cwd=folder)
    return folder / "site"


@pytest.fixture
def headstart_with(site: Path, tmp_path: Path) -> Command:
    """Runs a command with the plug-in installed, or without it."""

    def run(*arguments: object, plugin: bool = True) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join([*([str(site)] if plugin else []), str(SOURCE)])
        environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"}
        command = [sys.executable, "-m", "headstart", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    return run


def test_a_classifier_is_trained_with_a_foreign_backbone_head_and_engine(
    headstart_with: Command, photos: Path, tmp_path: Path
) -> None:
    options = ("--backbone", "example-net", "--head", "example-head", "--engine", "example-engine", "--no-inside")

    trained = headstart_with("train", photos, *options, "--out", "run")
    predicted = headstart_with("predict", "run", photos / "disc", "--json")
    inspected = headstart_with("inspect", "example-analysis", "run", photos)
    without = headstart_with("predict", "run", photos / "disc", plugin=False)

    assert trained.returncode == 0, trained.stderr
    assert "of 48 images are dark." in trained.stdout  # the check, in the audit of the data set
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["head"]["kind"] == "example-head"
    assert record["recipe"]["engine"] == "example-engine"
    assert "example-engine" in trained.stdout
    assert len(json.loads(predicted.stdout)) == 16, predicted.stderr
    assert "The mean cosine is" in inspected.stdout, inspected.stderr
    assert without.returncode == 2
    assert "example-net" in without.stderr
    assert "Traceback" not in without.stderr


def test_lists_and_help_name_the_extensions(headstart_with: Command) -> None:
    backbones, analyses, text = (headstart_with(*words) for words in (("backbones",), ("inspect",), ("train", "-h")))

    assert "example-net" in backbones.stdout, backbones.stderr
    assert "How much a horizontal flip changes the features" in analyses.stdout, analyses.stderr
    assert "example-head" in text.stdout
    assert "example-engine" in text.stdout


def test_the_audit_and_the_doctor_use_them(headstart_with: Command, photos: Path) -> None:
    audited, examined = headstart_with("audit", photos, "--json"), headstart_with("doctor", "example-net", "--json")

    assert "example-check" in [finding["kind"] for finding in json.loads(audited.stdout)["findings"]]
    assert "example rule" in [finding["name"] for finding in json.loads(examined.stdout)["findings"]]
