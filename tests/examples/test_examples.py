"""The programs of examples/: short, listed, and they run as they stand."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
MOST_LINES = 20
PRINTED = {  # what each prints on the drawn photos
    "confusion_matrix": "[[3 0 0]\n [0 3 0]\n [0 0 3]]",
    "embed_images": "48 images, 512 features each",
    "fixed_classes": "('stripes', 'square', 'disc', 'other')",
    "own_backbone": "('disc', 'square', 'stripes')",
    "own_training_loop": ".PNG: ",
    "predict_arrays": "disc <array>: disc (9",
    "predictions_as_frame": "p(square)",
    "scikit_learn_pipeline": "accuracy 1.000",
    "train_from_dataframe": " % [",
    "train_from_torchvision": "('disc', 'square', 'stripes') in the order of ['disc', 'square', 'stripes']",
}
NEEDS = {"predictions_as_frame": "pandas", "train_from_dataframe": "pandas"}


def test_there_are_ten_and_each_is_short_and_listed() -> None:
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    assert {program.stem for program in PROGRAMS} == set(PRINTED)
    for program in PROGRAMS:
        lines = [line for line in program.read_text("utf-8").splitlines() if line.strip()]
        assert len(lines) < MOST_LINES, program.name
        assert f"`{program.name}`" in readme


@pytest.fixture(scope="module")
def one_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of the photos are computed by the first program that needs them."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def camera_photos(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos with names in capitals, as cameras give them."""
    folder = tmp_path_factory.mktemp("camera")
    for path in photos.rglob("*.png"):
        there = folder / path.relative_to(photos).with_suffix(".PNG")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_runs_as_it_stands(
    program: Path,
    camera_photos: Path,
    one_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if program.stem in NEEDS:
        pytest.importorskip(NEEDS[program.stem])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTART_CACHE", str(one_cache))
    monkeypatch.setattr(sys, "argv", [str(program), str(camera_photos)])

    runpy.run_path(str(program), run_name="__main__")

    assert PRINTED[program.stem] in capsys.readouterr().out
