"""The wheel, installed in a fresh environment, holds everything the main job needs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from built_wheel import build_wheel


@pytest.mark.slow
def test_a_wheel_in_a_fresh_environment_runs_the_main_job(photos: Path, tmp_path: Path) -> None:
    pip, wheel = [sys.executable, "-m", "pip"], build_wheel(tmp_path)
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    # torch and the other dependencies are borrowed; headstart itself is not: a path line does not read other .pth files
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = ["install", "--quiet", "--no-deps", "--ignore-installed", str(wheel)]  # one that is borrowed counts, too
    subprocess.run([*pip, "--python", str(python), *install], check=True)

    code = "import headstart, sys; print(headstart.__file__); from headstart.cli.main import main; main(sys.argv[1:])"
    arguments = ["train", str(photos), "--backbone", "embedded", "--out", "run"]
    answer = subprocess.run(
        [python, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )

    assert answer.returncode == 0, answer.stderr
    assert str(site) in answer.stdout.splitlines()[0]
    assert "95 % interval" in " ".join(answer.stdout.split())  # whatever the width of the terminal
    assert "<style" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
