"""Run: the folder that a training leaves behind, as a value: evaluation, classifier, recipe, data.

A run is written into a hidden folder beside its place, which gets its name when everything is there.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart.classifier.classifier import Classifier
from headstart.errors import RunError
from headstart.evaluation.evaluation import Evaluation
from headstart.features.features_file import load_features
from headstart.features.matrix import Features

CLASSIFIER, RECORD, PREDICTIONS = "classifier.safetensors", "run.json", "predictions.csv"
FEATURES, REPORT, INSIDE = "features.safetensors", "report.html", "inside.html"
FILES = (CLASSIFIER, RECORD, PREDICTIONS, FEATURES, REPORT, INSIDE)
VERSION = 1


@dataclass(frozen=True)
class Run:
    """A finished training.

    Args:
        folder: where it lies.
        evaluation: measured on the test images.
        record: all of run.json: recipe, seed, versions, data, backbone, head, findings, timings.
    """

    folder: Path
    evaluation: Evaluation
    record: Mapping[str, Any]

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier that was measured, read from its file."""
        return Classifier.load(self.folder / CLASSIFIER)

    @cached_property
    def features(self) -> Features:
        """Features of all images of the run, on disk."""
        return load_features(self.folder / FEATURES)

    def predictions(self) -> list[dict[str, str]]:
        """The rows of predictions.csv: one for each image, with its content hash, part, label and answer."""
        with (self.folder / PREDICTIONS).open(encoding="utf-8", newline="") as file:
            return [{key: restore_cell(value) for key, value in row.items()} for row in csv.DictReader(file)]

    @classmethod
    def load(cls, folder: str | Path) -> Run:
        """Open the folder of a run.

        Raises:
            RunError: there is no run, it is damaged, or it was written by a newer headstart.
        """
        folder = Path(folder)
        record = folder / RECORD
        try:
            values = json.loads(record.read_text(encoding="utf-8"))
            version = values["version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                expected="the folder of a run",
                found=f"no readable {RECORD}",
                where=folder,
                hint="Make one: headstart train",
            ) from error
        if version > VERSION:
            raise RunError(
                expected=f"a run of version {VERSION}", found=f"{version}", where=record, hint="Upgrade headstart."
            )
        return cls(folder, Evaluation.from_dict(values["evaluation"]), values)

    def to_dict(self) -> dict[str, Any]:
        """The result for `--json`: evaluation first, then baselines, then where everything is."""
        evaluation = self.evaluation.to_dict()
        rest = {key: value for key, value in self.record.items() if key not in ("evaluation", "version")}
        return {"evaluation": evaluation, "baselines": evaluation["baselines"], "run": str(self.folder), **rest}


def run_name(source: Path) -> str:
    """Name of a run from its source: the folder's or file's name, in characters that are safe everywhere."""
    name = source.absolute().name
    if source.is_file():
        name = re.sub(r"(\.tar)?\.[^.]+$", "", name)
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


@contextmanager
def new_run(parent: Path, name: str) -> Iterator[Path]:
    """A folder to write a run into; afterwards it is `parent/name`, or `name-2` … when that is taken.

    Whatever goes wrong inside, nothing is left behind.

    Raises:
        RunError: the folder cannot be made.
    """
    work = parent / f".{name}-{uuid.uuid4().hex[:8]}.part"
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise RunError(
            expected="a folder that can be written",
            found=str(error.strerror),
            where=parent,
            hint="Choose one with --out.",
        ) from error
    try:
        yield work
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def finish_run(work: Path, name: str) -> Path:
    """Give the written folder its name, the first of `name`, `name-2`, `name-3` … that is free."""
    number = 1
    while True:
        final = work.with_name(name if number == 1 else f"{name}-{number}")
        if not final.exists():
            try:
                return work.rename(final)
            except OSError:
                if not final.exists():  # not a race lost to another run: a real failure
                    raise
        number += 1


def write_record(folder: Path, values: Mapping[str, Any]) -> None:
    """Write run.json, strict JSON."""
    text = json.dumps({"version": VERSION, **values}, indent=1, allow_nan=False, ensure_ascii=False, default=str)
    (folder / RECORD).write_text(text, encoding="utf-8", errors="surrogatepass")


def write_table(path: Path, header: Sequence[str], rows: Iterator[Sequence[object]]) -> None:
    """Write a csv whose cells no spreadsheet takes for a formula; a file appears at once and whole.

    Raises:
        RunError: it cannot be written there.
    """
    is_stream = path.exists() and not path.is_file() and not path.is_dir()  # a pipe, /dev/stdout
    path = path if is_stream else path.resolve()  # what a link leads to is written, not the link
    part = path if is_stream else path.with_name(f".{path.name}-{uuid.uuid4().hex}.part")
    try:
        with part.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            writer = csv.writer(file)
            writer.writerow([neutral_cell(name) for name in header])
            writer.writerows([neutral_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
        if not is_stream:
            part.replace(path)
    except BaseException as error:
        if not is_stream:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise RunError(expected="a place for the table", found=str(error.strerror), where=path) from error


def neutral_cell(text: str) -> str:
    """A leading apostrophe for cells that begin with = + - @ or a control character."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n", "'") else text


def restore_cell(text: str) -> str:
    """What `neutral_cell` was given."""
    return text[1:] if text[:1] == "'" else text


def data_fingerprint(contents: Sequence[str], labels: Sequence[str], parts: Sequence[str]) -> str:
    """SHA-256 over what was learnt from and tested on: content, label and part of every image, in no order."""
    lines = sorted(f"{content}\t{label}\t{part}" for content, label, part in zip(contents, labels, parts, strict=True))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
