"""A data set given as Python values: a DataFrame, (image, label) pairs, a map dataset, a Dataset or an ImageSet.

In: the value. Out: a csv table in the cache, with the images that are no files beside it. From there on it is read,
audited, resumed and continued like any other table; the same images and labels always give the same table.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.data.dataset import Dataset
from headstart.data.folder_scan import exists
from headstart.data.folder_seal import add_seal, discard, is_altered, is_as_written
from headstart.data.image_set import ImageSet, Sample
from headstart.data.image_source import WANTED as IMAGE_WANTED
from headstart.data.image_source import is_address, is_image_source, readable_image
from headstart.data.table_columns import find_columns
from headstart.data.table_paths import TablePaths, is_file, plain_path
from headstart.data.table_workbook import cell_text
from headstart.errors import DataError, RecipeError
from headstart.files import FOR_CACHE, os_errors, publish_folder, work_folder
from headstart.progress import OnProgress
from headstart.source_layout import AUTO, SourceLayout
from headstart.wording import listed

FOLDER = "sources"  # in the cache
_WANTED = (
    "the path of a folder, table or archive; or a DataFrame, (image, label) pairs, a dataset with len() and "
    "[i] → (image, label), a Dataset or an ImageSet"
)
_PAIRS = "Pairs are for example list(zip(images, labels)); a split or groups need a DataFrame."
_KINDS = (  # first bytes → suffix of the file
    (rb"\xff\xd8\xff", ".jpg"), (rb"\x89PNG\r\n", ".png"), (rb"GIF8", ".gif"), (rb"II\*\0|MM\0\*", ".tif"),
    (rb"RIFF....WEBP", ".webp"), (rb"BM", ".bmp"), (rb"P[1-6]\s", ".ppm"), (rb"....ftypavi", ".avif"),
    (rb"....ftyp(?:he|mif1)", ".heic"),
)  # fmt: skip
_IMAGE = "<image>"  # stands for pixels where only words are compared
_LEVELS = 255  # grey levels above black; torchvision's ToTensor divides by it
_EXACT = 1e-3  # of a level: what float32 may be off after the division

Source = str | os.PathLike[str] | Dataset | ImageSet | Any
"""A data set: the path of a folder, table or archive, or values that `keep_source` takes."""


@dataclass(frozen=True)
class KeptSource:
    """A data set as a table on disk.

    Args:
        table: the csv file, named by what was given, such as `DataFrame-240-rows.csv`.
        classes: their order where the source has its own; empty: the alphabet's.
        in_memory: images that were no files and now lie beside the table. size_bytes: what they take there.
        notes: sentences about what is not used.
    """

    table: Path
    classes: tuple[str, ...]
    in_memory: int
    size_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """A header and its lines; a cell of the column `path` is a path, or an image.

    Args:
        name: what was given, for the table's name. count: of the lines.
        path, label: numbers of these columns.
    """

    name: str
    header: Sequence[str]
    lines: Iterable[Sequence[object]]
    count: int
    path: int = 0
    label: int = 1
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def is_path(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether a data set is named by its path."""
    return isinstance(source, (str, os.PathLike))


def kept_fault(path: Path, cache: Path) -> str:
    """What is wrong with a table that was kept in the cache: removed, or altered with its images; empty: nothing."""
    if path.absolute().parent.parent != (cache / FOLDER).absolute():
        return ""
    if not exists(path):
        return "nothing there: the cache has been cleared"
    return "other files than were written there" if is_altered(path.absolute().parent) else ""


_GIVE = "Give the paths of images, and a label for each."


def keep_source(
    source: object, cache: Path, *, layout: SourceLayout = AUTO, progress: OnProgress | None = None
) -> KeptSource:
    """Write a data set that is given as values into the cache: a table, and beside it the images that are no files.

    Args:
        source: a DataFrame with the columns of a csv table, in which images are paths or what `predict` takes; or
            (image, label) pairs; or a dataset of torchvision's kind, whose labels are indices into its `classes`; or a
            Dataset or an ImageSet.
        cache: the user's cache folder.
        layout: columns that the user names.
        progress: called with (images written, images in all), where images are written.

    Raises:
        DataError: it is none of these, holds something else, or has no column of paths or labels.
        RecipeError: a delimiter is given, which only a file has.
        RunError: the cache cannot be written.
    """
    if layout.delimiter is not None:
        raise _useless_delimiter(source)
    rows = _rows_of(source, layout)
    if not rows.count:
        raise DataError(expected="at least one image", found=f"an empty {rows.name}", where="source", hint=_GIVE)
    paths: list[str] = []
    digest, text, labels = hashlib.sha256(), io.StringIO(newline=""), set[object]()
    writer = csv.writer(text)
    writer.writerow(rows.header)
    images = size = 0
    with work_folder(cache / FOLDER / "new", hint=FOR_CACHE) as work:
        for number, line in enumerate(rows.lines):
            cells, image = [_shown(cell) for cell in line], line[rows.path]
            if cells[rows.path] == _IMAGE or is_address(image):
                data = _encoded(image, f"image {number}")
                cells[rows.path] = f"{number:05d}{_suffix(data)}"
                digest.update(hashlib.sha256(data).digest())
                with os_errors(work, hint=FOR_CACHE):
                    (work / cells[rows.path]).write_bytes(data)
                images, size = images + 1, size + len(data)
                if progress is not None:
                    progress(number + 1, rows.count)
            elif cells[rows.path].strip():
                cells[rows.path] = str(plain_path(Path(cells[rows.path])))
                paths.append(cells[rows.path])
            writer.writerow(cells)
            labels.add(line[rows.label])
        if paths and not images and not any(is_file(Path(path)) for path in paths):
            hint = f"Relative paths are read from the current folder, {Path.cwd()}."
            raise DataError(expected="paths of files that exist", found=listed(paths, 3), where=rows.name, hint=hint)
        encoded = text.getvalue().encode("utf-8", "surrogateescape")
        table = f"{rows.name}-{rows.count}-images.csv"
        digest.update(encoded + table.encode())  # the same rows given in another way have another name
        kept = cache / FOLDER / digest.hexdigest()[:16]
        with os_errors(work, hint=FOR_CACHE):
            (work / table).write_bytes(encoded)
        if not is_as_written(kept):
            kept = _published(work, kept)
    classes = rows.classes or _in_order(labels)
    return KeptSource(kept / table, classes, in_memory=images, size_bytes=size, notes=rows.notes)


def _published(work: Path, kept: Path) -> Path:
    """The finished folder under its name in the cache, in place of one that has lost or got files since."""
    discard(kept)
    add_seal(work, kept)
    return publish_folder(work, kept)


def _in_order(labels: set[object]) -> tuple[str, ...]:
    """Whole numbers in their own order, 2 before 10; empty for others, which have the alphabet's."""
    numbers = [label for label in labels if isinstance(label, int)]
    return tuple(map(str, sorted(numbers))) if len(numbers) == len(labels) else ()


def _rows_of(source: object, layout: SourceLayout) -> _Rows:
    if isinstance(source, (Dataset, ImageSet)):
        return _of_samples(source)
    if hasattr(source, "columns") and hasattr(source, "to_dict"):
        return _of_frame(source, layout)
    if isinstance(source, Mapping) or is_image_source(source) or hasattr(source, "batch_sampler"):
        raise _refused(source)
    if hasattr(source, "__len__") and hasattr(source, "__getitem__") and not isinstance(source, Sequence):
        return _of_map_dataset(source)
    if not isinstance(source, Iterable):
        raise _refused(source)
    pairs = source if isinstance(source, Sequence) else list(source)
    return _Rows(
        name=type(pairs).__name__, header=("path", "label"), lines=_lines(pairs, classes=(), where="source"),
        count=len(pairs),
    )  # fmt: skip


def _refused(source: object) -> DataError:
    hint = _PAIRS
    if hasattr(source, "batch_sampler"):
        hint = "A DataLoader gives batches: give its dataset, loader.dataset."
    found = f"an array of shape {source.shape}" if isinstance(source, np.ndarray) else type(source).__name__
    return DataError(expected=_WANTED, found=found, where="source", hint=hint)


def _of_samples(source: Dataset | ImageSet) -> _Rows:
    """A data set of ours with its splits and the groups of its table; groups by name and content are found again."""
    samples: Sequence[Sample] = source.samples
    made = source.splits if isinstance(source, Dataset) else ()
    splits = [sample.split if name in ("", "unknown") else name
              for sample, name in zip(samples, made or [""] * len(samples), strict=True)]  # fmt: skip
    classes = tuple(source.classes)
    return _Rows(
        name=type(source).__name__,
        header=("path", "label", "split", "group"),
        lines=[(one.path, one.label, split, one.group) for one, split in zip(samples, splits, strict=True)],
        count=len(samples),
        classes=classes if list(classes) != sorted(classes) else (),
    )


def _of_frame(frame: Any, layout: SourceLayout) -> _Rows:
    """The rows of a DataFrame of pandas or polars; an index with a name is a column too."""
    name = getattr(getattr(frame, "index", None), "name", None)
    if name is not None and name not in list(frame.columns):
        frame = frame.reset_index()
    header = [str(name) for name in frame.columns]
    columns = [_values(frame, number, name) for number, name in enumerate(frame.columns)]
    lines = list(zip(*columns, strict=True))
    paths = TablePaths(Path())
    texts = [(number + 2, [_shown(cell) for cell in line]) for number, line in enumerate(lines)]
    found = find_columns(
        [(1, header), *texts],
        Path(f"DataFrame of {len(lines)} rows"),
        names_file=lambda cell: cell == _IMAGE or paths.is_there(cell),
        layout=layout,
    )
    return _Rows(
        name=type(frame).__name__,
        header=header,
        lines=lines,
        count=len(lines),
        path=found.path,
        label=found.label,
    )


def _values(frame: Any, number: int, name: object) -> list[object]:
    column = frame.iloc[:, number] if hasattr(frame, "iloc") else frame[name]  # pandas may have one name twice
    return list(column.to_list())


def _shown(cell: object) -> str:
    is_pixels = is_image_source(cell) and not is_path(cell)
    return _IMAGE if is_pixels else cell_text(cell)


def _of_map_dataset(dataset: Any) -> _Rows:
    """A dataset of torchvision's kind; where it knows its files, these are read and its transforms are not applied."""
    classes = _classes_of(dataset)
    files = _files_of(dataset)
    notes: tuple[str, ...] = ()
    if files is not None and _transform_of(dataset) is not None:
        notes = ("The dataset's transform is not applied: its files are read and prepared as the network needs.",)
    items = files if files is not None else _items(dataset)
    return _Rows(
        name=type(dataset).__name__,
        header=("path", "label"),
        lines=_lines(items, classes=classes, where="dataset"),
        count=len(dataset),
        classes=classes,
        notes=notes,
    )


def _classes_of(dataset: Any) -> tuple[str, ...]:
    """Names that labels are indices into; those of the dataset behind a Subset or in front of a concatenation."""
    named = getattr(dataset, "classes", None)
    if isinstance(named, (list, tuple)) and all(isinstance(name, str) for name in named):
        return tuple(named)
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        return _classes_of(dataset.dataset)
    several = {_classes_of(one) for one in getattr(dataset, "datasets", ())}
    return several.pop() if len(several) == 1 else ()


def _files_of(dataset: Any) -> list[tuple[str, int]] | None:
    """Paths and labels, where the dataset knows them as ImageFolder does, or a Subset of one."""
    if hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        files = _files_of(dataset.dataset)
        return None if files is None else [files[int(i)] for i in dataset.indices]
    files = getattr(dataset, "samples", None)
    if not isinstance(files, list) or len(files) != len(dataset):
        return None
    is_files = all(isinstance(one, tuple) and len(one) == 2 and is_path(one[0]) and isinstance(one[1], int)
                   for one in files)  # fmt: skip
    return files if is_files and all(os.path.isfile(path) for path, _ in files[:1]) else None  # noqa: PTH113  # False for names that no disk can hold


def _transform_of(dataset: Any) -> object:
    while hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return getattr(dataset, "transform", None) or getattr(dataset, "transforms", None)


def _items(dataset: Any) -> Iterator[object]:
    for i in range(len(dataset)):
        try:
            yield dataset[i]
        except Exception as error:  # of somebody else's code: whatever it raises
            raise DataError(
                expected="an image and its label",
                found=f"{type(error).__name__}: {error}",
                where=f"dataset[{i}]",
                hint="Leave it out, for example with torch.utils.data.Subset.",
            ) from error


def _lines(items: Iterable[object], *, classes: Sequence[str], where: str) -> Iterator[tuple[object, object]]:
    """(image, label) with the label as the name of a class, or a whole number where there are no names."""
    for i, item in enumerate(items):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            found = f"{len(item)} values" if isinstance(item, (tuple, list)) else type(item).__name__
            hint = (
                "For example [(row['image'], row['label']) for row in rows]." if isinstance(item, Mapping) else _PAIRS
            )
            raise DataError(expected="an image and its label", found=found, where=f"{where}[{i}]", hint=hint)
        if not is_image_source(item[0]):
            found = type(item[0]).__name__
            raise DataError(
                expected=IMAGE_WANTED, found=found, where=f"{where}[{i}]", hint="The image comes first, then its label."
            )
        yield item[0], _label(item[1], classes, f"{where}[{i}]")


def _label(label: object, classes: Sequence[str], where: str) -> object:
    if isinstance(label, str):
        return label
    if isinstance(label, (np.ndarray, np.generic, torch.Tensor)) and label.ndim == 0:
        label = label.item()
    if isinstance(label, str):
        return label
    if not isinstance(label, int):
        found = f"{label!r}" if isinstance(label, float) or label is None else type(label).__name__
        hint = "Several labels for one image are not supported." if hasattr(label, "__len__") else ""
        raise DataError(expected="a label: a text or a whole number", found=found, where=where, hint=hint)
    if not classes:
        return int(label)
    if not 0 <= label < len(classes):
        expected = f"a label from 0 to {len(classes) - 1}, an index into the {len(classes)} classes"
        raise DataError(expected=expected, found=str(label), where=where, hint="Give one label for each image.")
    return classes[label]


def _encoded(image: object, where: str) -> bytes:
    """The bytes of an image file: as given, or of the pixels as PNG, which loses nothing."""
    try:
        read = readable_image(_levels(image) if isinstance(image, torch.Tensor) else image)
    except DataError as error:
        raise DataError(expected=error.expected, found=error.found, where=where, hint=error.hint) from error
    if isinstance(read, bytes):
        return read
    assert not isinstance(read, Path)  # a path is no pixels, and an address was refused
    return _png(read)


def _png(rgb: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    # level 1: a tenth of the time of the usual 6, a few per cent larger
    Image.fromarray(rgb).save(data, "PNG", compress_level=1)
    return data.getvalue()


def _levels(tensor: torch.Tensor) -> torch.Tensor:
    """The grey levels behind a tensor that torchvision's ToTensor made, as uint8; any other tensor as it is."""
    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    levels = tensor.detach().double() * _LEVELS
    whole = levels.round()
    is_scaled = bool((levels - whole).abs().max() <= _EXACT and whole.min() >= 0 and whole.max() <= _LEVELS)
    return whole.to(torch.uint8) if is_scaled else tensor


def _suffix(data: bytes) -> str:
    return next((suffix for start, suffix in _KINDS if re.match(start, data, re.DOTALL)), ".bin")


def _useless_delimiter(source: object) -> RecipeError:
    return RecipeError(
        expected="a delimiter with a csv file only",
        found=type(source).__name__,
        where="delimiter",
        hint="Leave it out.",
    )
