"""Without torch ONNX files give the same answers, in Python and from the command line; all else says what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import PackageError
from headstart.workbench import without_torch
from torch_missing import command_without_torch, run_without_torch

pytest.importorskip("onnxruntime")

LINE = 'headstart needs {} for this: pip install "headstart[standard]"'


@pytest.mark.slow
def test_an_onnx_file_gives_the_same_answers(exported: Path, photos: Path) -> None:
    file = exported / "classifier.onnx"
    code = """
import headstart as hs, json
found = hs.predict(sys.argv[1], sys.argv[2], on_event=None)
checked = hs.check(sys.argv[1], sys.argv[2], on_event=None)
print(json.dumps([[one.probabilities for one in found], checked.passed, checked.counts, str(checked)]))
assert not {"torch", "scipy"} & set(sys.modules)
"""
    answer = run_without_torch(code, str(file), str(photos / "disc"))

    assert answer.returncode == 0, answer.stderr
    rows, passed, counts, words = json.loads(answer.stdout)
    assert rows == [one.probabilities for one in hs.predict(file, photos / "disc", on_event=None)]
    assert passed
    assert counts == {"disc": 16}
    assert "needs torch" in words


@pytest.mark.slow
def test_the_command_line_predicts_and_checks(exported: Path, photos: Path) -> None:
    file, image = str(exported / "classifier.onnx"), str(sorted((photos / "disc").iterdir())[0])

    predicted = command_without_torch("predict", file, image, "--json")
    checked = command_without_torch("check", file, image)

    assert json.loads(predicted.stdout)[0]["label"] == "disc", predicted.stderr
    assert checked.returncode == 0, checked.stderr
    assert "is whole: 1 disc." in " ".join(checked.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("train", "photos"), ("predict", "run", "new.jpg"), ("export", "run"), ("audit", "x")]
)
def test_a_command_that_needs_torch_says_so_in_one_line(words: tuple[str, ...]) -> None:
    answer = command_without_torch(*words)

    assert answer.returncode == 2
    assert answer.stderr.strip() in {LINE.format(package) for package in ("torch", "scipy")}


@pytest.mark.slow
def test_so_does_a_public_name_and_one_other_package_that_is_missing(photos: Path) -> None:
    code = """
import headstart as hs
for line in ("train", "Classifier", "predict('run', 'x.jpg')", "serve('run')", "lab.run_experiment('identity')"):
    try:
        eval(f"hs.{line}")
    except hs.HeadstartError as error:
        assert isinstance(error, ImportError) and error.__suppress_context__ or "(" in line, line
        print(error)
"""
    answer = run_without_torch(code)
    one = command_without_torch("train", str(photos), "--backbone", "embedded", packages=("jinja2",))

    assert answer.stdout.splitlines() == [LINE.format("torch")] * 5, answer.stderr
    assert one.returncode == 2
    assert one.stderr.splitlines()[-1] == LINE.format("jinja2")


def test_anything_but_an_onnx_file_is_refused() -> None:
    with pytest.raises(PackageError, match="headstart needs torch"):
        without_torch.predict("classifier.safetensors", "x.jpg")
    with pytest.raises(PackageError, match="headstart needs torch"):
        without_torch.check("classifier.onnx", "x.jpg", against="run")
