"""What headstart writes into a folder of images changes nothing for the next training on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import headstart as hs
from headstart.data.image_set import scan
from headstart.datasets.hands import draw_hands
from headstart.workbench import demo as demo_module
from headstart.workbench.explain import explain
from headstart.workbench.inspect import inspect

Write = Callable[[hs.Run, Path], object]


def quiet(_: object) -> None:
    """Take no notice of events."""


def _one(folder: Path) -> list[Path]:
    return [sorted((folder / "disc").glob("*.png"))[0]]


def _explain_into_a_new_folder(run: hs.Run, folder: Path) -> None:
    explain(run.folder, _one(folder), out=folder / "explained", on_event=quiet)
    explain(run.folder, _one(folder), out=folder / "explained", on_event=quiet)


def _explain_beside_the_classes(run: hs.Run, folder: Path) -> None:
    explain(run.folder, _one(folder), out=folder, on_event=quiet)


def _explain_into_a_class(run: hs.Run, folder: Path) -> None:
    explain(run.folder, _one(folder), out=folder / "stripes", on_event=quiet)


def _explain_into_a_run(run: hs.Run, folder: Path) -> None:
    copy = Path(shutil.copytree(run.folder, folder / "runs" / "photos"))
    explain(copy, _one(folder), out=copy / "explained", on_event=quiet)


def _draw_a_figure_into_a_class(run: hs.Run, folder: Path) -> None:
    inspect("filters", run.folder, folder, figure=folder / "disc" / "filters.png", most=2, on_event=quiet)


def _sort_into_a_new_folder(run: hs.Run, folder: Path) -> None:
    bad = folder.parent / "bad.png"
    bad.write_bytes(b"no image")
    hs.predict(run, [*_one(folder), bad], sort_into=folder / "sorted", on_event=None)


def _sort_into_a_folder_in_use(run: hs.Run, folder: Path) -> None:
    bad = folder.parent / "bad.png"
    bad.write_bytes(b"no image")
    hs.predict(run, [bad], sort_into=folder, on_event=None)


def _draw_the_demo(run: hs.Run, folder: Path, into: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, "draw_hands", lambda at, progress: draw_hands(at, train_per_class=2))
        patch.setattr(demo_module, "train", lambda *_, out, **__: shutil.copytree(run.folder, out))
        demo_module.demo(into, on_event=None)


def _draw_the_demo_into_a_new_folder(run: hs.Run, folder: Path) -> None:
    _draw_the_demo(run, folder, folder / "demo")


def _draw_the_demo_beside_the_classes(run: hs.Run, folder: Path) -> None:
    _draw_the_demo(run, folder, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "write",
    [
        _explain_into_a_new_folder,
        _explain_beside_the_classes,
        _explain_into_a_class,
        _explain_into_a_run,
        _draw_a_figure_into_a_class,
        _sort_into_a_new_folder,
        _sort_into_a_folder_in_use,
        pytest.param(_draw_the_demo_into_a_new_folder, marks=pytest.mark.slow),
        pytest.param(_draw_the_demo_beside_the_classes, marks=pytest.mark.slow),
    ],
)
def test_what_a_verb_wrote_is_no_image_of_the_next_training(
    run: hs.Run, photos: Path, tmp_path: Path, write: Write
) -> None:
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    before = {path for path in folder.rglob("*") if path.suffix == ".png"}

    write(run, folder)

    assert {path for path in folder.rglob("*") if path.suffix in (".png", ".json")} > before
    found = scan(folder)
    assert found.classes == run.classifier.classes
    assert [sample.name for sample in found.samples] == [sample.name for sample in scan(photos).samples]
    (finding,) = found.findings
    assert finding.severity == "note"
    assert "written by headstart" in finding.message


@pytest.mark.slow
def test_a_folder_of_sorted_images_can_be_trained_on(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    hs.predict(run, [photos, bad], sort_into=tmp_path / "sorted", on_event=None)

    assert scan(tmp_path / "sorted").classes == run.classifier.classes


@pytest.mark.slow
def test_train_explain_train_again_keeps_the_classes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(photos, tmp_path / "photos"))
    first = hs.train(".", backbone="embedded", inside=False, on_event=None)
    explain(first.folder, ["disc", "stripes"], out="explained", on_event=quiet)

    second = hs.train(".", backbone="embedded", inside=False, on_event=None)

    assert second.classifier.classes == first.classifier.classes
    assert second.record["data"]["images"] == first.record["data"]["images"]
    assert [row["path"] for row in second.predictions()] == [row["path"] for row in first.predictions()]
