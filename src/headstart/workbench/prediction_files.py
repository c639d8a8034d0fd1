"""Files around predictions, without torch: the images that are named, tables of answers, images sorted by class."""

from __future__ import annotations

import dataclasses
import glob
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart import files, runtime
from headstart.classifier.predictions import TRUST, Prediction, Predictions
from headstart.data.video import Video, is_video, open_video
from headstart.errors import DataError, RecipeError, RunError, near
from headstart.files import all_or_none
from headstart.output_paths import writable_file
from headstart.plain import Plain
from headstart.workbench.csv_table import write_table

FORMATS = ("csv", "json", "parquet")
_PATTERN = "*?["
_BETWEEN = " | "  # classes of a prediction set in one cell
_TABLES = (".parquet", ".parq")
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class PredictedShards(Plain):
    """What became of many predictions, which are in a Parquet file.

    Args:
        file: of the predictions, a row for each image. images: how many.
        predicted: class → images. bad: name → reason of images that could not be read.
        damaged: how many were not whole.
    """

    file: Path
    images: int
    predicted: Mapping[str, int]
    bad: Mapping[str, str] = field(default_factory=dict)
    damaged: int = 0

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in self.predicted.items())
        unread = f"; {len(self.bad):,} could not be read, see the column `error`" if self.bad else ""
        whole = f"; {self.damaged:,} are damaged, see the column `damaged`" if self.damaged else ""
        return f"{self.images:,} images: {counts}{unread}{whole}\nWritten: {self.file}"


def tables_of(csv: str | Path | None, out: str | Path | None, kind: str | None) -> dict[Path, str]:
    """The tables to write, each with its format; what cannot be written is refused before anything is computed.

    Args:
        csv: a csv table. out: a table in the format `kind`; None: `predictions.` and the format, in this folder.
        kind: csv, json or parquet; None: by the name of `out`.

    Raises:
        RecipeError: no such format. RunError: a folder is missing, or pyarrow is not installed.
    """
    tables = {} if csv is None else {Path(csv): "csv"}
    if out is not None or kind is not None:
        kind = kind or Path(str(out)).suffix.lower().removeprefix(".")
        if kind not in FORMATS:
            raise RecipeError(
                expected=f"one of {', '.join(FORMATS)}", found=repr(kind), where="--format", hint=near(kind, FORMATS)
            )
        tables[Path(out or f"predictions.{kind}")] = kind
    for path, format_ in tables.items():
        writable_file(path, expected="a table that can be written")
        if format_ == "parquet":
            _check_pyarrow(path)
    return tables


def check_parquet(path: Path) -> Path:
    """The path of a Parquet file that a verb is to write.

    Raises:
        RecipeError: it has another suffix. RunError: nothing can be written there, or pyarrow is not installed.
    """
    if path.suffix.lower() != ".parquet":
        hint = f"Such as {path.with_suffix('.parquet').name}." if path.name else ""
        raise RecipeError(expected="a file .parquet", found=str(path), where="--out", hint=hint)
    _check_pyarrow(path)
    return writable_file(path, expected="a table that can be written")


def _check_pyarrow(path: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise RunError(
            expected="the package pyarrow",
            found="not installed",
            where=path,
            hint='pip install "headstart[parquet]"',
        )


def expand(source: str | os.PathLike[str], roots: dict[Path, str]) -> list[Path]:
    """The files and folders that a path stands for: those of a pattern such as `*.jpg` or `**/*.jpg`, sorted; the
    unpacked folder of a zip or tar; else the path itself.

    Args:
        roots: gets the unpacked folder of an archive and the archive's name, see `with_archive_names`.

    Raises:
        DataError: nothing has a name of the pattern, the archive cannot be unpacked, or only workers read it.
    """
    path = Path(source)
    if path.suffix.lower() in _TABLES or "://" in str(source):
        from headstart.data.worker_sources import check_read_here  # as for scan_unlabelled below

        check_read_here(str(source), expected="images, folders or archives")
    if any(c in str(path) for c in _PATTERN) and not os.path.lexists(path):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207  # absolute ones too
        if not found:
            raise DataError(
                expected="files with names of a pattern",
                found="none",
                where=path,
                hint="Check the pattern and the folder you are in.",
            )
        return [one for name in found for one in expand(name, roots)]
    if not path.name.lower().endswith(_ARCHIVES) or not os.path.isfile(path):  # noqa: PTH113
        return [path]
    from headstart.data.archive import unpack  # as for scan_unlabelled below

    root = unpack(path, runtime.cache_folder() / "archives", kept=True)
    roots[root] = str(path)
    return [root]


def with_archive_names(predictions: Sequence[Prediction], roots: Mapping[Path, str]) -> Predictions:
    """Predictions whose images came out of an archive are named `photos.zip/cat/1.jpg`."""
    named = Predictions()
    for prediction in predictions:
        inside = next((root for root in roots if Path(prediction.name).is_relative_to(root)), None)
        name = prediction.name if inside is None else f"{roots[inside]}{prediction.name[len(str(inside)) :]}"
        named.append(dataclasses.replace(prediction, name=name))
    return named


def write_all(
    predictions: Predictions,
    classes: Sequence[str],
    *,
    tables: Mapping[Path, str],
    sort_into: Path | None,
    roots: Mapping[Path, str],
) -> Predictions:
    """Write what `predict` was asked for; the predictions with the names that people know, and what was written.

    Args:
        tables: of `tables_of`. sort_into: folder for copies of the images; None: none. roots: of `expand`.
    """
    if sort_into is not None:
        sort_images(predictions, sort_into)  # by the paths, before images of archives get their names
    if roots:
        predictions = with_archive_names(predictions, roots)
    for path, kind in tables.items():
        write_predictions(path, predictions, classes, kind=kind)
    predictions.written = (*tables, *([] if sort_into is None else [sort_into]))
    return predictions


def files_of(images: object, roots: dict[Path, str], *, video: Callable[[str | Path], Video] = open_video) -> list[Any]:
    """Image files of one or several paths, each pattern, archive and folder replaced by its images.

    Args:
        roots: as for `expand`. video: opens a video or camera, which stands in the list as it is.

    Raises:
        DataError: one is no path, does not exist, or holds no image.
    """
    several: Sequence[Any] = images if isinstance(images, (list, tuple)) else [images]
    for one in several:
        if not isinstance(one, (str, os.PathLike)) or "://" in str(one):
            raise DataError(
                expected="image files and folders on this machine",
                found=str(one) if isinstance(one, str) else type(one).__name__,
                where="images",
                hint="With an ONNX file, images in memory go to headstart.runtime_onnx.OnnxClassifier.",
            )
    if all(os.path.isfile(one) and not is_video(one) and not str(one).lower().endswith(_ARCHIVES) for one in several):  # noqa: PTH113  # as in scan_unlabelled, whose import takes a while
        return [Path(one) for one in several]
    from headstart.data.image_set import scan_unlabelled

    found = [path for one in several for path in expand(one, roots)]
    if not any(map(is_video, found)):
        return list(scan_unlabelled(found))
    return [image for one in found for image in ([video(one)] if is_video(one) else scan_unlabelled([one]))]


def sort_images(predictions: Sequence[Prediction], folder: Path) -> None:
    """Copy each image into a folder of its class below `folder`, unreadable ones into `_unreadable`, those whose answer
    was rejected into `_rejected`.

    A folder that is made for it is recorded, so that no training takes it for a class. All images are copied or none:
    a second call would copy again, under other names, those that an interrupted one has copied.

    Raises:
        RunError: one cannot be read or written.
    """
    from headstart.data.output_record import is_output_folder, output_folder

    with all_or_none():
        own = is_output_folder(output_folder(folder))
        for prediction in predictions:
            source = Path(prediction.name)
            if not os.path.isfile(source):  # noqa: PTH113  # False for names that no disk can hold
                continue
            target = folder / _folder_name(prediction.label or ("_rejected" if prediction.rejected else "_unreadable"))
            if not own or not prediction.label:  # corrected by hand, the classes of a folder of ours can be trained on
                output_folder(target)
            files.copy_into(source, target)


def _folder_name(label: str) -> str:
    """A class as the name of one folder: class names come out of files, and may hold anything."""
    plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in label).strip(". ")
    return plain[:100] or "_"


def write_predictions(
    path: Path, predictions: Sequence[Prediction], classes: Sequence[str], *, kind: str = "csv"
) -> None:
    """Write the table of all probabilities, one row or record for each image; it appears whole or not at all.

    Args:
        kind: csv; json, a list of records; or parquet. In the last two, numbers are numbers and what is not known null.

    Raises:
        RunError: it cannot be written there.
    """
    if kind != "csv":
        _write_columns(path, _columns(predictions, classes), kind)
        return
    timed = Predictions(predictions).times()
    header = [
        "path",
        "predicted",
        *timed,
        "probability",
        *[f"p({name})" for name in classes],
        "error",
        "damaged",
        *TRUST,
    ]
    rows = (
        [
            *(p.name, p.label or "", *([_seconds(p.time)] if timed else []), *_numbers(p, classes)),
            *(p.error or "", p.damaged or "", *_trust(p)),
        ]
        for p in predictions
    )
    write_table(path, header, rows)


def _seconds(time: float | None) -> str:
    return "" if time is None else f"{time:.3f}"


def _numbers(prediction: Prediction, classes: Sequence[str]) -> list[str]:
    if prediction.error:
        return [""] * (len(classes) + 1)
    first = f"{prediction.probability:.6f}" if prediction.label else ""  # a rejected answer has no class
    return [first, *(f"{prediction.probabilities[c]:.6f}" for c in classes)]


def _trust(prediction: Prediction) -> list[str]:
    """The cells of `TRUST`: yes or no, per cent with two decimals, the classes of a set with | between them."""
    return [_cell(value) for value in prediction.trust().values()]


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else "yes" if value else "no"
    if isinstance(value, list):
        return _BETWEEN.join(value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _columns(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, list[Any]]:
    return {
        "path": [p.name for p in predictions],
        "predicted": [p.label for p in predictions],
        **Predictions(predictions).times(),
        "probability": [p.probability if p.label else None for p in predictions],
        **{f"p({name})": [p.probabilities.get(name) for p in predictions] for name in classes},
        "error": [p.error for p in predictions],
        "damaged": [p.damaged for p in predictions],
        **{name: [p.trust()[name] for p in predictions] for name in TRUST},
    }


def _write_columns(path: Path, columns: dict[str, list[Any]], kind: str) -> None:
    expected = "a table that can be written"
    if kind == "json":
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        files.write_text(path, json.dumps(records, indent=1, allow_nan=False) + "\n", expected=expected)
        return
    import pyarrow
    from pyarrow import parquet

    numbers, special = ("probability", "familiarity_percentile", "time"), {
        "familiar": pyarrow.bool_(), "atypical": pyarrow.bool_(), "prediction_set": pyarrow.list_(pyarrow.string())
    }  # fmt: skip
    types = {
        name: special.get(name, pyarrow.float64() if name in numbers or name.startswith("p(") else pyarrow.string())
        for name in columns
    }
    table = pyarrow.table(
        {files.printable(name): pyarrow.array(map(_utf8, column), types[name]) for name, column in columns.items()}
    )
    with files.atomic_write(path, expected=expected) as part, part.open("wb") as file:  # its path may not be UTF-8
        parquet.write_table(table, file)


def _utf8(value: Any) -> Any:
    """A cell as pyarrow takes it: bytes of file names that are not UTF-8 are escaped."""
    if isinstance(value, list):
        return [_utf8(one) for one in value]
    return files.printable(value) if isinstance(value, str) else value
