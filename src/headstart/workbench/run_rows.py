"""RunRows: the images of a finished run as arrays, aligned: names, contents, labels, groups, splits and features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import runtime
from headstart.data.image_set import scan
from headstart.data.worker_sources import needs_workers
from headstart.errors import DataError, HeadstartError, RunError, near
from headstart.features.matrix import Features
from headstart.heads.linear_probe import TrainingRows
from headstart.heads.regularization_path import Labels
from headstart.recipe import Recipe
from headstart.workbench.run import PREDICTIONS, Run

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class RunRows:
    """N images of a run, in the order of its predictions.csv.

    Args:
        names: in their data set. contents, pixels: hashes of bytes and of pixels, hex; pixels may be empty.
        labels: N int64, index into `classes`; -1 for a class that training did not have.
        groups: N int64. splits: N. features: of all images of the run; image i is row `at[i]`.
    """

    names: tuple[str, ...]
    contents: tuple[str, ...]
    pixels: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Labels
    groups: Labels
    splits: tuple[str, ...]
    features: Features
    at: Labels

    @classmethod
    def of(cls, run: Run) -> RunRows:
        """Read the table and the features of a run.

        Raises:
            RunError: one of them is missing or damaged, or they are not of the same images.
        """
        rows, features = run.predictions(), run.features
        return cls(
            names=tuple(rows.names),
            contents=tuple(row["sha256"] for row in rows),
            pixels=tuple(row.get("pixels", "") for row in rows),
            classes=rows.classes,
            labels=rows.labels,
            groups=_numbered([row["group"] for row in rows]),
            splits=tuple(row["split"] for row in rows),
            features=features,
            at=places_in(features, rows, run.folder),
        )

    def __len__(self) -> int:
        return len(self.names)

    def indices(self, split: str) -> Labels:
        """Indices of the images of a split with a class that training has, ascending."""
        return np.flatnonzero((np.array(self.splits) == split) & (self.labels >= 0))

    def training(self, kept: Mask | None = None, labels: Labels | None = None) -> TrainingRows:
        """What a head may see.

        Args:
            kept: N, False for images that are left out; None: all. labels: N; None: those of the run.
        """
        kept = np.ones(len(self), dtype=np.bool_) if kept is None else kept
        labels = self.labels if labels is None else labels
        train, held = (split[kept[split]] for split in (self.indices("train"), self.indices("validation")))
        if not len(train):
            raise DataError(
                expected=f"training images with a label in {PREDICTIONS}",
                found="none",
                where="the run",
                hint="Train again: what was computed is cached.",
            )
        return TrainingRows(
            rows=self.at[train],
            labels=labels[train],
            groups=self.groups[train],
            classes=len(self.classes),
            validation_rows=self.at[held],
            validation_labels=labels[held],
        )

    def keep(self, kept: Mask) -> RunRows:
        """Some of the images, with their features in memory and in the order of the names."""
        chosen = np.flatnonzero(kept)

        def some(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in chosen)

        names, contents = some(self.names), some(self.contents)
        return replace(
            self,
            names=names,
            contents=contents,
            pixels=some(self.pixels),
            labels=self.labels[chosen],
            groups=self.groups[chosen],
            splits=some(self.splits),
            features=replace(
                self.features,
                matrix=self.features.take(self.at[chosen]),
                names=names,
                contents=contents,
            ),
            at=np.arange(len(chosen)),
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """N class names; empty for a class that training did not have."""
        return tuple(self.classes[label] if label >= 0 else "" for label in self.labels)

    def find(self, image: str | Path, *, root: Path | None = None) -> int:
        """The index of an image by its name in the data set, its path, or the end of its name where that is unique.

        Args:
            root: folder that names are relative to.

        Raises:
            RunError: there is no such image, or several.
        """
        text = str(image).replace("\\", "/")
        asked = {text, text.removeprefix("./")}
        if root is not None:
            asked |= {_below(Path(image), root)}
        found = [i for i, name in enumerate(self.names) if name in asked]
        found = found or [i for i, name in enumerate(self.names) if name.endswith(f"/{text}")]
        if len(found) != 1:
            several = f"{len(found)} of that name: {', '.join(self.names[i] for i in found[:3])}"
            raise RunError(
                expected="an image of the run",
                found=several if found else repr(text),
                where=PREDICTIONS,
                hint="Name it with its folders." if found else near(text, self.names) if len(self) < 30 else
                     f"Names look like {self.names[0]!r}; predictions.csv lists them.",
            )  # fmt: skip
        return found[0]


def _numbered(groups: Sequence[str]) -> Labels:
    """The numbers of groups from 0, in the order that training had: solvers then add in the same order, bit for bit."""
    numbers = [int(group) for group in groups] if all(map(str.isdecimal, groups)) else list(groups)
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def paths_of(run: Run, names: Sequence[str]) -> tuple[dict[str, Path], str]:
    """Where the images of a run lie now: name → path, and why some are missing (empty: none is)."""
    source = Path(run.record["source"])
    if needs_workers(run.record["source"]):
        return {}, "The images cannot be shown: they are in Parquet files, tars or at an address, which workers read."
    try:
        layout = Recipe.from_dict(run.record["recipe"]).layout
        found = scan(source, unpack_into=runtime.cache_folder() / "archives", layout=layout, stop=False)
    except (HeadstartError, OSError) as error:
        return {}, f"The images cannot be shown: {error}"
    wanted = set(names)
    paths = {sample.name: sample.path for sample in found.samples if sample.name in wanted}
    missing = len(wanted) - len(paths)
    return paths, f"{missing:,} images of the run are no longer in {source}." if missing else ""


def _below(path: Path, root: Path) -> str:
    """The path relative to a folder, with `/`; empty where it is not below it."""
    try:
        return path.absolute().relative_to(root.absolute()).as_posix()
    except ValueError:
        return ""


def places_in(features: Features, rows: Iterable[Mapping[str, str]], folder: Path) -> Labels:
    """Where the images of rows of predictions.csv stand in the features of the run.

    Args:
        folder: of the run.

    Raises:
        RunError: the features are not of the same images, as in a folder put together of two runs.
    """
    place, wanted = {name: i for i, name in enumerate(features.names)}, [(row["path"], row["sha256"]) for row in rows]
    missing = [name for name, _ in wanted if name not in place]
    if missing or any(features.contents[place[name]] != content for name, content in wanted):
        raise RunError(
            expected="predictions and features of the same images",
            found=f"no features of {missing[0]!r}" if missing else "images with other contents",
            where=folder / PREDICTIONS,
            hint="Copy the run again, or train again: what was computed is cached.",
        )
    return np.array([place[name] for name, _ in wanted], dtype=np.int64)
