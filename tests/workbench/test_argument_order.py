"""The order of arguments: swapped ones are recognised by what they are, and the right order works as it stands."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

import headstart as hs
from headstart.errors import DataError, RecipeError, RunError
from headstart.workbench.argument_order import check_analysis_order, check_order, is_trained
from headstart.workbench.compare import compare
from headstart.workbench.explain import explain
from headstart.workbench.recalibrate import recalibrate
from headstart.workbench.run import Run, check_not_run

_VERBS: dict[str, Callable[..., object]] = {
    "predict": hs.predict,
    "evaluate": hs.evaluate,
    "explain": explain,
    "recalibrate": recalibrate,
}


@pytest.mark.parametrize("verb", _VERBS)
@pytest.mark.parametrize("name", ["", "classifier.safetensors"])
def test_swapped_arguments_are_named_in_the_right_order(run: Run, photos: Path, verb: str, name: str) -> None:
    classifier = str(run.folder / name)

    with pytest.raises(RecipeError) as caught:
        _VERBS[verb](photos, classifier)

    assert caught.value.hint.endswith(shlex.join(["headstart", verb, classifier, str(photos)]))
    check_order(verb, classifier, photos)  # which is then accepted


def test_a_classifier_after_several_images_is_found(run: Run, photos: Path) -> None:
    images = sorted(str(path) for path in (photos / "disc").iterdir())[:2]

    with pytest.raises(RecipeError) as caught:
        hs.predict(images[0], [images[1], run.folder])

    assert caught.value.hint.endswith(shlex.join(["headstart", "predict", str(run.folder), *images]))


def test_what_is_no_classifier_and_has_none_behind_it_is_another_mistake(photos: Path, tmp_path: Path) -> None:
    check_order("predict", photos, [photos])
    check_order("predict", tmp_path / "mistyped", photos)
    for mistaken in (photos, next((photos / "disc").iterdir())):
        with pytest.raises(hs.HeadstartError, match="The classifier comes first"):
            hs.predict(mistaken, photos)


def test_a_file_is_known_by_its_content(run: Run, tmp_path: Path) -> None:
    renamed = shutil.copy(run.folder / "classifier.safetensors", tmp_path / "model.bin")
    Image.new("RGB", (8, 8)).save(tmp_path / "image.safetensors", "png")

    assert is_trained(renamed)
    assert is_trained(run)
    assert not is_trained(tmp_path / "image.safetensors")
    assert not is_trained("x" * 5000)
    assert not is_trained("https://example.org/classifier.safetensors")


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
def test_any_other_order_of_inspect_is_put_right(run: Run, photos: Path, order: Sequence[int]) -> None:
    right = ["filters", str(run.folder), str(photos)]

    with pytest.raises(RecipeError) as caught:
        hs.inspect(*[right[i] for i in order])

    assert caught.value.hint.endswith(shlex.join(["headstart", "inspect", *right]))


def test_the_right_order_and_an_unknown_analysis_pass(photos: Path, run: Run) -> None:
    check_analysis_order("filters", "resnet18", photos, names=("filters", "all"))
    check_analysis_order("fliters", run.folder, photos, names=("filters", "all"))


def test_the_folder_of_a_run_is_no_set_of_images(run: Run, photos: Path) -> None:
    check_not_run(photos)
    for verb in (hs.train, hs.audit):
        with pytest.raises(DataError, match="the folder of a run"):
            verb(run.folder)
    with pytest.raises(DataError, match="the folder of a run"):
        hs.evaluate(run, run.folder)


def test_compare_takes_two_runs_by_folder_or_file_and_sends_images_to_evaluate(run: Run, photos: Path) -> None:
    assert compare(run.folder / "classifier.safetensors", run).to_dict() == compare(run, run).to_dict()
    for pair in ((run.folder, photos), (photos, run.folder)):
        with pytest.raises(RunError) as caught:
            compare(*pair)
        assert caught.value.where == str(photos)
        assert shlex.join(["headstart", "evaluate", str(run.folder), str(photos)]) in caught.value.hint
