"""add_class: a new class for a finished run; old features are read as they are, the head is solved over all of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from headstart.classifier.card import check_class_names
from headstart.data.dataset import Dataset
from headstart.data.finding import Finding
from headstart.data.folder_scan import read_tree
from headstart.errors import DataError, RecipeError, shown
from headstart.evaluation.intervals import Interval
from headstart.features.matrix import Features
from headstart.files import free_name, publish_folder, work_folder
from headstart.options import AddClassOptions, takes
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.wording import counted, listed, percent
from headstart.workbench.events import FilesWritten
from headstart.workbench.run import CLASSIFIER, FEATURES, PREDICTIONS, RECORD, REPORT, Run, out_folder
from headstart.workbench.run_rows import RunRows
from headstart.workbench.session import Session
from headstart.workbench.solve_again import ADDED, check_solvable, solve_again, write_again
from headstart.workbench.write_run import next_command

_FILES = (REPORT, CLASSIFIER, RECORD, PREDICTIONS, FEATURES)
_DOUBTFUL = ("unreadable", "damaged", "suspect")  # kinds of findings about files that are not whole
_SPLIT = ("test_share", "seed", "stable_split")  # options that the run decides: how images are divided


@dataclass(frozen=True)
class ClassAdded(Plain):
    """A run with one more class.

    Args:
        folder: of the new run. name: of the class. images, tested: of the class, and how many of them are test images.
        left_out: images that the run has already. doubtful: sentences about those that cannot be read or are damaged.
        recall: of the new class on its test images. accuracy: on all test images. before: of the old run on its own.
    """

    folder: Path
    name: str
    images: int
    tested: int
    left_out: int
    recall: Interval
    accuracy: Interval
    before: Interval
    doubtful: tuple[str, ...] = ()

    def __str__(self) -> str:
        recall, accuracy, before = (
            f"{percent(one.value)} [{one.low * 100:.1f}, {one.high * 100:.1f}]"
            for one in (self.recall, self.accuracy, self.before)
        )
        one = self.left_out == 1
        verbs = ("was", "is") if one else ("were", "are")
        known = f"{counted(self.left_out, 'image')} of it {verbs[0]} in the run already and {verbs[1]} left out."
        left_out = "".join(f" {sentence}" for sentence in (*[known] * bool(self.left_out), *self.doubtful))
        return (
            f"Class {shown(self.name)}: {counted(self.images, 'image')}, {self.tested:,} of them for the test."
            f"{left_out} Recall of the new class {recall}; "
            f"accuracy over all classes {accuracy}, without the new class {before}."
        )


@takes(AddClassOptions)
def add_class(
    run: str | Path | Run,
    images: str | Path,
    *,
    name: str = "",
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[AddClassOptions],
) -> ClassAdded:  # six and options: a run, a class, and where to
    """Add a class to a run from a folder of its images; only they pass the network, and a new run is written.

    A share of them is kept for the test by the rules of `train` (the run's test share and seed; duplicates and bursts
    stay together). The head is solved on all training images, old and new: as a training on all of them at once.

    Args:
        images: folder with images of the new class.
        name: of the class; default: the folder's name.
        out: folder of the new run; default: the old one's name with a number behind it.

    Raises:
        RunError: there is no run, or its network was trained on its images.
        DataError: there are no images, all of them are in the run already, or too few for a test.
        RecipeError: the run has the class already.
    """
    chosen = None if out is None else out_folder(out)
    old = run if isinstance(run, Run) else Run.load(run)
    was = Recipe.from_dict(old.record["recipe"])
    session = Session(recipe, {**options, **{name: getattr(was, name) for name in _SPLIT}}, on_event)
    check_solvable(old, verb="add_class")
    rows, folder = RunRows.of(old), Path(images)
    name = name or folder.resolve().name
    if name in rows.classes:
        raise RecipeError(
            expected="a new class",
            found=f"{name!r}, which the run has",
            where="--name",
            hint="More images of a known class: put them into its folder and train again; features are cached.",
        )
    check_class_names((*rows.classes, name))
    with session.step("audit"):
        dataset, left_out = _new_images(session, folder, name, rows=rows, rules=old)
    with session.step("features"):
        features = session.features(session.feature_job(dataset, old.classifier.backbone)).features
    both = _joined(rows, dataset, features, name=name)
    with session.step("head"):
        solved = solve_again(old, both, progress=session.progress("solve head", unit="%"))
    target = free_name(chosen or out_folder(old.folder))  # what is written says where it lies
    with session.step("write"), work_folder(target) as work:
        more = {"added": {"class": name, "images": len(dataset), "from": str(folder)}}
        done = _finding(name, dataset, before=old.evaluation.accuracy)
        write_again(work, old, solved, target=target, done=done, more=more)
        written = publish_folder(work, target)
    session.on_event(FilesWritten(written, _FILES, next_command(written)))
    return ClassAdded(
        folder=written,
        name=name,
        images=len(dataset),
        tested=len(dataset.indices("test")),
        left_out=left_out,
        recall=next(one.recall for one in solved.evaluation.per_class if one.name == name),
        accuracy=solved.evaluation.accuracy,
        before=old.evaluation.accuracy,
        doubtful=_doubtful(dataset),
    )


def _doubtful(dataset: Dataset) -> tuple[str, ...]:
    """What the audit says of images that cannot be read, or not as a whole, with the first of them."""
    found = [one for one in dataset.audit.findings if one.kind in _DOUBTFUL]
    return tuple(f"{one.message.rstrip('.')}: {listed([Path(name).name for name in one.names], 3)}." for one in found)


def _finding(name: str, dataset: Dataset, *, before: Interval) -> Finding:
    """What report and model card say of the new class."""
    images, tested = counted(len(dataset), "image"), len(dataset.indices("test"))
    message = (
        f"Class {name} added by headstart add-class: {images}, {tested:,} of them for the test. Head, calibration "
        f"and all figures here are computed again on all images; the test accuracy without the class was {before}."
        + "".join(f" {sentence}" for sentence in _doubtful(dataset))
    )
    return Finding(ADDED, "note", message)


def _new_images(session: Session, folder: Path, name: str, *, rows: RunRows, rules: Run) -> tuple[Dataset, int]:
    """The images of the new class with their split, and how many are left out since the run has them."""
    if not folder.is_dir():
        raise DataError(
            expected="a folder with images of the new class",
            found="none",
            where=folder,
            hint="Check the path: it is the folder of the new class alone.",
        )
    files = read_tree(folder).images
    if not files:
        raise DataError(
            expected="at least one image", found="none", where=folder, hint="Put images of the new class there."
        )
    # as a table of paths in the cache: loose images of one class are no data set by their folders
    pairs = [(os.path.abspath(folder / file), name) for file in sorted(files)]  # noqa: PTH100  # links stay as they are
    dataset = session.dataset(pairs, least_classes=1, rules=rules.classifier.rules)
    known = {*rows.contents, *rows.pixels} - {""}
    fresh = [i for i, fact in enumerate(dataset.facts) if fact.content not in known and fact.pixels not in known]
    if not fresh:
        raise DataError(
            expected="images that the run does not have",
            found="none",
            where=folder,
            hint="Every image of the folder is in the run already; add others.",
        )
    chosen = dataset if len(fresh) == len(dataset) else dataset.subset(fresh)
    recipe = session.recipe
    divided = chosen.with_split(recipe.test_share, recipe.seed, stable=recipe.stable_split)
    return divided, len(dataset) - len(fresh)


def _joined(rows: RunRows, dataset: Dataset, features: Features, *, name: str) -> RunRows:
    """The rows of the run and those of the new class, classes in the order of their names as `train` has them."""
    classes = tuple(sorted((*rows.classes, name)))
    number = np.array([classes.index(one) for one in rows.classes])
    labels = np.where(rows.labels >= 0, number[rows.labels], -1)
    place = {one: i for i, one in enumerate(features.names)}
    taken = set(rows.names)
    names = tuple(_free(f"{name}/{Path(sample.name).name}", taken) for sample in dataset.samples)
    at = np.array([place[sample.name] for sample in dataset.samples])
    together = rows.keep(np.ones(len(rows), dtype=np.bool_))
    return replace(
        together,
        names=(*rows.names, *names),
        contents=(*rows.contents, *dataset.contents),
        pixels=(*rows.pixels, *(fact.pixels for fact in dataset.facts)),
        classes=classes,
        labels=np.concatenate([labels, np.full(len(dataset), classes.index(name))]),
        groups=np.concatenate([rows.groups, dataset.groups() + int(rows.groups.max()) + 1]),
        splits=(*rows.splits, *dataset.splits),
        features=replace(
            together.features,
            matrix=np.concatenate([together.features.matrix, features.matrix[at]]),
            names=(*rows.names, *names),
            contents=(*rows.contents, *dataset.contents),
        ),
        at=np.arange(len(rows) + len(dataset)),
    )


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; it is taken then."""
    path, number, found = Path(name), 1, name
    while found in taken:
        number += 1
        found = path.with_name(f"{path.stem}-{number}{path.suffix}").as_posix()
    taken.add(found)
    return found
