"""serve with an ONNX file: a process without torch answers as predict does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import headstart as hs
from headstart.client import Client
from headstart.errors import ClassifierError
from headstart.workbench.serve_onnx import is_onnx, serve_onnx
from torch_missing import BLOCKED, WITH_TORCH

pytest.importorskip("onnxruntime")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")


@pytest.mark.slow
def test_a_process_without_torch_answers_as_predict(exported: Path, photos: Path) -> None:
    file, image = exported / "classifier.onnx", sorted(photos.rglob("*.png"))[0]
    code = f"{BLOCKED.format(packages=WITH_TORCH)}\nfrom headstart.cli.main import main\nmain(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(file), "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "300"},
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None, line
        client = Client(found[0])
        (expected,) = hs.predict(file, image, on_event=None)
        assert client.predict(image).to_dict() == expected.to_dict()
        client.close()
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ClassifierError, match="not an ONNX file of headstart"):
        serve_onnx(tmp_path / "x.onnx", port=0, on_event=None)
    assert is_onnx(tmp_path / "X.ONNX")
    assert not is_onnx("run")
