"""Run: the folder that a training leaves behind, as a value: evaluation, classifier, recipe, data.

A run is written into a hidden folder beside its place, and gets its name when everything is there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headstart.classifier.classifier import Classifier
from headstart.classifier.file import FILE_NAME
from headstart.errors import ClassifierError, DataError, RunError
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.sense import check_numbers
from headstart.features.features_file import load_features, sealed_checksum
from headstart.features.matrix import BLOCK_ROWS, Features
from headstart.files import FOR_RUN, os_error
from headstart.output_paths import writable_folder
from headstart.plain import to_plain
from headstart.public_api import public_methods
from headstart.untrusted import Untrusted, check_kinds, read_object, read_text, sha256_of, write_sealed
from headstart.workbench.argument_order import check_order
from headstart.workbench.csv_table import restore_cell, write_table
from headstart.workbench.run_predictions import MOST_COLUMNS, NUMBER, PREFIX, RANKS, RunPredictions

CLASSIFIER, RECORD, PREDICTIONS = FILE_NAME, "run.json", "predictions.csv"
FEATURES, REPORT, INSIDE = "features.safetensors", "report.html", "inside.html"
FILES = (CLASSIFIER, RECORD, PREDICTIONS, FEATURES, REPORT, INSIDE)
VERSION = 2  # 1: written by headstart 0.1, with other names for some keys; both are read
_KINDS = {"evaluation": dict, "recipe": dict, "source": str, "data": dict, "backbone": dict}  # of run.json
_MAYBE = (dict, type(None))
_MAY_HOLD: dict[str, type | tuple[type, ...]] = {  # kinds of what older runs, and some kinds of training, do not have
    **dict.fromkeys(("head", "trust", "preprocessing", "fine_tuning", "tuning", "timings"), _MAYBE),
    **dict.fromkeys(("plan", "versions"), dict),
    **dict.fromkeys(("id", "created", "command", "engine"), str),
    **dict.fromkeys(("findings", "next_steps"), list),
}
_MEASURED = ("trust", "data", "head", "timings", "images_per_second")  # beside the evaluation
_AGAIN = "Copy the run again, or train again: what was computed is cached."
_SUMS = {PREDICTIONS: "predictions_sha256", CLASSIFIER: "classifier_sha256", FEATURES: "features_crc32"}  # in run.json
_COLUMNS = {"part": "split"}  # old → new name of a column of predictions.csv
_ABOUT = ("path", "sha256", "pixels", "split", "group", "label")  # of predictions.csv, before what is predicted
Scores = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Indices of n images → n×C probabilities."""
_NEEDED = ("path", "sha256", "split", "group", "label", "predicted", "probability")


@public_methods("load", "predictions", "confusion_matrix", "confusion_frame", "features_of")
@dataclass(frozen=True)
class Run:
    """A finished training.

    Args:
        folder: where it lies.
        evaluation: measured on the test images.
        record: all of run.json: recipe, seed, versions, data, backbone, head, findings, timings.
        module: the network, for a run on your own one.
    """

    folder: Path
    evaluation: Evaluation
    record: Mapping[str, Any]
    module: nn.Module | None = None

    def __repr__(self) -> str:  # short: it ends many a notebook cell, and its record fills pages
        return f"Run({str(self.folder)!r}, accuracy {self.evaluation.accuracy})"

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier that was measured, read from its file; with a RunError where another one lies there."""
        loaded = Classifier.load(self.folder / CLASSIFIER, module=self.module)
        self._check_own(CLASSIFIER)
        return loaded

    @cached_property
    def features(self) -> Features:
        """Features of all images of the run, on disk; with a RunError where those of another run lie there."""
        loaded = load_features(self.folder / FEATURES)
        self._check_own(FEATURES)
        return loaded

    def _check_own(self, name: str) -> None:
        """See that a file of the folder, whole in itself, is the one that this run wrote; older runs do not say."""
        path, stated = self.folder / name, self.record.get(_SUMS[name])
        try:
            found = None if stated is None else _sum_of(path)
        except OSError as error:
            raise os_error(error, path, expected="a file that can be read") from error
        if found != stated:
            raise RunError(
                expected=f"the {name} that this run wrote",
                found=f"another one: its checksum is not the one in {RECORD}",
                where=path,
                hint=f"{_AGAIN} A classifier alone, without its run, can be named by its file: predict FILE NEW_IMAGES",
            )

    def confusion_matrix(self) -> NDArray[np.int64]:
        """C×C int64 counts of the test images: rows are the true classes, columns the predictions."""
        return self.evaluation.confusion_matrix()

    def confusion_frame(self) -> Any:
        """The confusion matrix as a pandas DataFrame with the names of the classes.

        Raises:
            RunError: pandas is not installed.
        """
        return self.evaluation.confusion_frame()

    def features_of(self, stage: str) -> NDArray[np.float32]:
        """N×D float32, raw features of all images at one stage, in the order of `features.names`.

        Args:
            stage: its name (`stage4`), `pooled` (the last), or the path of its module (`layer4`).

        Raises:
            BackboneError: the backbone has no such stage.
        """
        return self.features[self.classifier.backbone.spec.stage(stage).name]

    def predictions(self, split: str | None = None) -> RunPredictions:
        """The rows of predictions.csv: one for each image, with its content hash, split, label and prediction.

        Args:
            split: `train`, `validation`, `test` or `unknown`; None: all images.

        Raises:
            RunError: the table is missing, damaged or another one; or there is no such split.
        """
        path = self.folder / PREDICTIONS
        try:
            text = read_text(path)
            found = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            if self.record.get(_SUMS[PREDICTIONS], found) != found:  # older runs have none
                raise Untrusted(f"another file than the run wrote: its checksum is not the one in {RECORD}")
            rows = self._rows(text)
        except (OSError, ValueError, csv.Error) as error:
            raise RunError(
                expected="the predictions of a run",
                found=str(error),
                where=path,
                hint=_AGAIN,
            ) from error
        return rows if split is None else rows.of_split(split)

    def _rows(self, text: str) -> RunPredictions:
        table = csv.reader(io.StringIO(text, newline=""))
        header = [_COLUMNS.get(name, name) for name in map(restore_cell, next(table, []))]
        missing = [name for name in _NEEDED if name not in header]
        if missing:
            raise Untrusted(f"no column {', '.join(missing)}")
        classes = [name[2:-1] for name in header if name.startswith("p(")]
        rows = (
            RunPredictions([], classes, None) if classes else RunPredictions([], self.evaluation.classes, self._scores)
        )
        at = header.index(NUMBER)
        for cells in table:
            if len(cells) != len(header):
                raise Untrusted(f"line {table.line_num} has {len(cells)} cells, the first {len(header)}")
            if not 0 <= float(cells[at]) <= 1:  # nan too
                raise Untrusted(f"line {table.line_num} has the probability {cells[at]}")
            rows.append(dict(zip(header, map(restore_cell, cells), strict=True)))
        rows.check(header, self.evaluation.classes)
        return rows

    def _scores(self, names: list[str]) -> NDArray[np.float64]:
        place, head = {name: i for i, name in enumerate(self.features.names)}, self.classifier.head
        return head.probabilities_of(self.features.view(np.array([place[name] for name in names]), head.stages))

    @classmethod
    def load(cls, folder: str | Path, *, module: nn.Module | None = None) -> Run:
        """Open the folder of a run.

        Args:
            folder: of the run, or its classifier.safetensors.
            module: the network of a run on your own one, which gets the run's weights; else None.

        Raises:
            RunError: there is no run, it is damaged, or it was written by a newer headstart.
        """
        folder = Path(folder)
        folder = folder.parent if folder.name == CLASSIFIER and folder.is_file() else folder  # it stands for its run
        record = folder / RECORD
        try:
            values = read_object(record, {"version": int})
            _check_record(values)
        except FileNotFoundError as error:
            raise RunError(
                expected="the folder of a run",
                found=f"no readable {RECORD}",
                where=folder,
                hint=_hint_without_record(folder),
            ) from error
        except NotADirectoryError as error:
            raise RunError(
                expected="the folder of a run",
                found="a file",
                where=folder,
                hint=f"Give the folder that {RECORD} is in.",
            ) from error
        except (OSError, ValueError) as error:
            raise RunError(
                expected="the folder of a run",
                found=f"no readable {RECORD}: {error}",
                where=folder,
                hint=_AGAIN,
            ) from error
        if values["version"] > VERSION:
            found = f"{values['version']}"
            raise RunError(expected=f"a run of version {VERSION}", found=found, where=record, hint="Upgrade headstart.")
        try:
            evaluation = Evaluation.from_dict(values["evaluation"])
        except RunError as error:
            raise RunError(expected=error.expected, found=error.found, where=record, hint=_AGAIN) from error
        return cls(folder, evaluation, values, module)

    def to_dict(self) -> dict[str, Any]:
        """The result for `--json`: evaluation first, then baselines, then where everything is."""
        evaluation = self.evaluation.to_dict()
        rest = {key: value for key, value in self.record.items() if key not in ("evaluation", "version")}
        return {"evaluation": evaluation, "baselines": evaluation["baselines"], "run": str(self.folder), **rest}


def _check_record(values: dict[str, Any]) -> None:
    """Check the kinds of what a run's record holds; one of a newer headstart is not looked at.

    Raises:
        Untrusted: a value is missing, or of another kind.
    """
    if values["version"] > VERSION:
        return
    check_kinds(values, _KINDS)
    check_kinds(values, {key: kind for key, kind in _MAY_HOLD.items() if key in values})
    if not all(isinstance(one, dict) for one in values.get("findings", ())):
        raise Untrusted("findings are no list of objects")
    for part in ("data", "backbone"):
        check_kinds(values[part], {"fingerprint": str})
    for part in _MEASURED:
        check_numbers(values.get(part), part)


def write_predictions_table(
    path: Path, about: Iterable[Sequence[str]], classes: Sequence[str], *, scores: Scores
) -> None:
    """Write predictions.csv: a column `p(class)` for each of at most ten classes, else the ten most probable by rank.

    With more classes `predicted` and `probability` are followed by `top_2`, `p_2` to `top_10`, `p_10`: a class and its
    probability, most probable first. All others follow from the features and the classifier beside the table.

    Args:
        about: of N images: path, sha256, pixels, split, group, label; taken one after another.
        scores: of their indices, asked for in blocks.

    Raises:
        RunError: it cannot be written there.
    """
    if len(classes) > MOST_COLUMNS:
        more = [name for rank in RANKS for name in (f"top_{rank}", f"p_{rank}")]
    else:
        more = [f"{PREFIX}{name})" for name in classes]
    write_table(path, [*_ABOUT, "predicted", NUMBER, *more], _cells(about, classes, scores))


def _cells(about: Iterable[Sequence[str]], classes: Sequence[str], scores: Scores) -> Iterator[list[object]]:
    rest, begin = iter(about), 0
    while block := list(itertools.islice(rest, BLOCK_ROWS)):
        probabilities = scores(np.arange(begin, begin + len(block)))
        begin += len(block)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :MOST_COLUMNS]
        ranked = len(classes) > MOST_COLUMNS
        rows = (np.take_along_axis(probabilities, best, 1) if ranked else probabilities).tolist()  # as plain numbers
        for cells, row, ranks in zip(block, rows, best.tolist(), strict=True):
            numbers = [f"{value:.6f}" for value in row]
            if ranked:
                yield [
                    *cells,
                    *(cell for i, number in zip(ranks, numbers, strict=True) for cell in (classes[i], number)),
                ]
            else:
                yield [*cells, classes[ranks[0]], numbers[ranks[0]], *numbers]


def run_name(source: Path) -> str:
    """Name of a run from its source: the folder's or file's name, in characters that are safe everywhere."""
    name = source.absolute().name
    if source.is_file():
        name = re.sub(r"(\.tar)?\.[^.]+$", "", name)
    return _safe_name(name)


def run_name_of(address: str) -> str:
    """Name of a run from a path, a pattern or an address: its last part that is no pattern, without a suffix."""
    path = Path(address)
    if path.exists():
        return run_name(path)
    parts = [part for part in address.partition("://")[2].split("/") or [] if part] or list(path.parts)
    named = [part for part in parts if not any(c in part for c in "*?[")]
    return _safe_name(re.sub(r"(\.tar)?\.[^.]+$", "", named[-1]) if named else "")


def _safe_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def out_folder(folder: str | Path) -> Path:
    """A folder that the user named, as a path with a name: `.` and `..` become the folders they stand for.

    Raises:
        RunError: it has no name, such as the root of a disk, or the user after ~ is unknown.
    """
    path = writable_folder(folder, is_new=True, for_model=True)
    path = path.resolve() if path.name in ("", "..") else path
    if not path.name:
        raise RunError(expected="a folder with a name", found=repr(str(path)), hint="Choose one with --out.")
    return path


def check_not_run(source: str | Path) -> None:
    """See that a source of images is not the folder of a run, whose table names images that lie elsewhere.

    Raises:
        DataError: it is one.
    """
    path = Path(source)
    if not all(os.path.isfile(path / name) for name in (RECORD, PREDICTIONS)):  # noqa: PTH113  # any name is a set's
        return
    raise DataError(
        expected="images: a folder, a table, a zip or a tar",
        found="the folder of a run",
        where=path,
        hint=f"To use its classifier: {shlex.join(['headstart', 'predict', str(path)])} NEW_IMAGES",
    )


def write_record(folder: Path, values: Mapping[str, Any]) -> None:
    """Write run.json, strict JSON with its own checksum and those of the files beside it, the last file to be written.

    Raises:
        RunError: it cannot be written there.
    """
    sums = {key: _sum_of(folder / name) for name, key in _SUMS.items() if (folder / name).exists()}
    write_sealed(folder / RECORD, {"version": VERSION, **to_plain(values), **sums}, hint=FOR_RUN)


def _sum_of(path: Path) -> str:
    """The checksum of a run's file: SHA-256, or the CRC-32 that a features file, of perhaps gigabytes, ends with."""
    return sealed_checksum(path) if path.name == FEATURES else sha256_of(path)


Trained = str | Path | Classifier | Run
"""A trained classifier however it is named: its file, the folder of its run, the run, or the loaded classifier."""


def classifier_of(trained: Trained, *, verb: str = "", images: object = None) -> Classifier:
    """The classifier that is meant; a run keeps its own loaded.

    Args:
        verb, images: the command and its images, which are looked at only if there is no classifier.

    Raises:
        ClassifierError: it cannot be opened. RecipeError: it is among the images.
    """
    if isinstance(trained, Classifier):
        return trained
    if isinstance(trained, Run):
        return trained.classifier
    try:
        return Classifier.load(trained)
    except ClassifierError:
        check_order(verb, trained, images)
        raise


def find_run(trained: Trained, model: Classifier) -> tuple[Run | None, str]:
    """The run whose features can be compared with the model's, or None and the reason.

    Args:
        trained: as the user named it. model: what was loaded.

    A recalibrated classifier may lie in the folder of its run: the features there have other batch-norm statistics.
    """
    if isinstance(trained, Classifier):
        return None, "a loaded classifier has no run folder"
    folder = trained.folder if isinstance(trained, Run) else Path(trained)
    try:
        run = trained if isinstance(trained, Run) else Run.load(folder if folder.is_dir() else folder.parent)
    except RunError as error:
        return None, f"the run's folder is not beside the file ({error.found})"
    try:
        _ = run.features
    except RunError as error:
        return None, f"{FEATURES} of the run beside the file cannot be used ({error.found})"
    if run.record["backbone"]["fingerprint"] != model.backbone.fingerprint:
        return None, "the features of the run beside the file are of other weights than the classifier's"
    file = run.folder / CLASSIFIER if folder.is_dir() else folder
    if (stated := run.record.get(_SUMS[CLASSIFIER])) is not None and stated != sha256_of(file):
        return None, f"the classifier is not the one that the run beside it wrote: its checksum is not that in {RECORD}"
    return run, ""


def _hint_without_record(folder: Path) -> str:
    if (folder / CLASSIFIER).exists():
        return f"It holds {CLASSIFIER}, which predict, evaluate and export take; copy the rest of the run again."
    return f"Make one: headstart train {shlex.quote(str(folder)) if folder.is_dir() else 'PHOTOS'}"
