"""Files around predictions, without torch: the images that are named, the table of answers, images sorted by class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart import files
from headstart.classifier.predictions import Prediction
from headstart.errors import DataError, RunError
from headstart.workbench.csv_table import write_table


def check_table(path: str | Path) -> None:
    """Refuse a table whose folder is missing, before anything is computed.

    Raises:
        RunError: with the path.
    """
    if not Path(path).absolute().parent.is_dir():
        raise RunError(
            expected="a folder for the table", found="no such folder", where=path, hint="Create the folder first."
        )


def files_of(images: object) -> list[Path]:
    """Image files of one or several paths, each folder replaced by its images.

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
    if all(os.path.isfile(one) for one in several):  # noqa: PTH113  # as in scan_unlabelled, whose import takes a while
        return [Path(one) for one in several]
    from headstart.data.image_set import scan_unlabelled

    return scan_unlabelled([Path(one) for one in several])


def sort_images(predictions: Sequence[Prediction], folder: Path) -> None:
    """Copy each image into a folder of its class below `folder`, those that cannot be read into `_unreadable`.

    A folder that is made for it is recorded, so that no training takes it for a class.
    """
    from headstart.data.output_record import is_output_folder, output_folder

    own = is_output_folder(output_folder(folder))
    for prediction in predictions:
        source = Path(prediction.name)
        if os.path.isfile(source):  # noqa: PTH113  # False for names that no disk can hold
            target = folder / _folder_name(prediction.label or "_unreadable")
            if not own or not prediction.label:  # corrected by hand, the classes of a folder of ours can be trained on
                output_folder(target)
            files.copy_into(source, target)


def _folder_name(label: str) -> str:
    """A class as the name of one folder: class names come out of files, and may hold anything."""
    plain = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in label).strip(". ")
    return plain[:100] or "_"


def write_predictions(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Write the table of all probabilities; it appears whole or not at all.

    Raises:
        RunError: it cannot be written there.
    """
    header = ["path", "predicted", "probability", *[f"p({name})" for name in classes], "error", "damaged"]
    rows = ([p.name, p.label or "", *_numbers(p, classes), p.error or "", p.damaged or ""] for p in predictions)
    write_table(path, header, rows)


def _numbers(prediction: Prediction, classes: Sequence[str]) -> list[str]:
    if prediction.error:
        return [""] * (len(classes) + 1)
    return [f"{value:.6f}" for value in (prediction.probability, *(prediction.probabilities[c] for c in classes))]
