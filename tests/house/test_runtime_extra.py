"""`pip install headstart[runtime]` in a fresh environment, from the package index: no torch, and the same answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import headstart as hs
from built_wheel import build_wheel

CODE = """
import importlib.metadata, importlib.util, json, sys
import headstart as hs
found = hs.predict(sys.argv[1], sys.argv[2], on_event=None)
heavy = [name for name in ("torch", "torchvision", "scipy", "matplotlib", "onnx") if importlib.util.find_spec(name)]
print(json.dumps({"rows": [one.probabilities for one in found], "heavy": heavy, "file": hs.__file__}))
"""


@pytest.mark.slow
def test_the_extra_brings_no_torch_and_predicts_the_same(exported: Path, photos: Path, tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    venv.create(tmp_path / "env", with_pip=True)
    bin_ = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pip = [str(bin_ / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.run([*pip, "typing-extensions"], env=environment, capture_output=True).returncode:
        pytest.skip("the package index cannot be reached")
    subprocess.run([*pip, f"headstart[runtime] @ {wheel.as_uri()}"], check=True, env=environment)

    file = str(exported / "classifier.onnx")
    command = [str(bin_ / "python"), "-c", CODE, file, str(photos / "disc")]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    refused = subprocess.run(
        [str(bin_ / "headstart"), "train", str(photos)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )

    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["heavy"] == []
    assert str(tmp_path) in found["file"]
    for row, expected in zip(found["rows"], hs.predict(file, photos / "disc", on_event=None), strict=True):
        assert row == pytest.approx(expected.probabilities, abs=1e-6)
    assert refused.returncode == 2
    assert refused.stderr == 'headstart needs torch for this: pip install "headstart[standard]"\n'
