"""From the results of shards to a Dataset like that of one machine: the same audit, groups and split.

Images that lie in tables and tars have no file; a few of them, for the report, are written beside the shards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.data.audit.audit import audit_facts
from headstart.data.dataset import Dataset, audit_settings, readable_dataset
from headstart.data.finding import Finding
from headstart.data.image_index import ImageFacts, with_suffix_notes
from headstart.data.image_set import ImageSet, Sample
from headstart.data.images import SUFFIXES, BadImage, ImageRules, open_image
from headstart.distributed.extract import FACTS
from headstart.distributed.row_labels import check_names, check_rows
from headstart.distributed.shard import Shard
from headstart.distributed.sources import ShardedSource
from headstart.files import atomic_write, make_folder
from headstart.progress import OnStep
from headstart.recipe import Recipe

NEAR_DUPLICATES = 100_000  # images up to which near duplicates are searched: beyond, the search takes hours on one core
_TABLES = 4  # tables of images in memory while some are read: 200 MB


@dataclass(frozen=True)
class ShardedDataset:
    """A Dataset, and where each of its images lies in the results of shards.

    Args:
        shard: N, number of each image's shard. row: N, its row there.
    """

    dataset: Dataset
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    images: RowImages

    def of(self, dataset: Dataset) -> ShardedDataset:
        """The same for another dataset of some of these images."""
        place = {sample.name: i for i, sample in enumerate(self.dataset.samples)}
        at = np.array([place[sample.name] for sample in dataset.samples], dtype=np.int64)
        return replace(self, dataset=dataset, shard=self.shard[at], row=self.row[at])

    def write_files(self, indices: Iterable[int]) -> None:
        """Write these images into files, where they have none, so that they can be read by their paths."""
        for i in indices:
            path = self.dataset.samples[i].path
            if self.images.folder in path.parents and not path.exists():
                data = self.images.bytes_of(int(self.shard[i]), int(self.row[i]))
                make_folder(path.parent)
                with atomic_write(path) as part:
                    part.write_bytes(data)


@dataclass
class RowImages:
    """Single encoded images of shards, a few tables in memory.

    Args:
        folder: for those that are written into files.
    """

    shards: Sequence[Shard]
    folder: Path
    _tables: OrderedDict[tuple[int, int], pa.Table] = field(default_factory=OrderedDict)

    def bytes_of(self, shard: int, row: int) -> bytes:
        """The bytes of an image.

        Raises:
            BadImage: they can no longer be read.
        """
        start = 0
        for number, table in enumerate(self._read(shard)):
            if row < start + len(table):
                self._tables[shard, number] = table
                while len(self._tables) > _TABLES:
                    self._tables.popitem(last=False)
                data = table.column("bytes")[row - start].as_py()
                if data is None:
                    break
                return bytes(data)
            start += len(table)
        raise BadImage("it can no longer be read")

    def _read(self, shard: int) -> Iterable[pa.Table]:
        kept = [self._tables.get((shard, 0))]
        if kept[0] is not None and self.shards[shard].images == len(kept[0]):
            return [kept[0]]
        return self.shards[shard].tables()


def sharded_dataset(
    source: ShardedSource,
    tables: Sequence[pa.Table],
    recipe: Recipe,
    *,
    rules: ImageRules,
    folder: Path,
    known: Sequence[str] = (),
    stop: bool = True,
    progress: OnStep | None = None,
) -> ShardedDataset:  # nine: as for `load_dataset`, with what the shards gave
    """The dataset of a source whose shards were read.

    Args:
        tables: the result of each shard, with facts. folder: of the results.
        known, stop: see `load_dataset`.

    Raises:
        DataError: there is no usable set, or more images than `max_bad_share` cannot be read.
    """
    images = RowImages(source.shards, folder / "images")
    samples, facts, places = [], [], []
    for number, table in enumerate(tables):
        about = table.select(["name", "label", "group", "split", *FACTS]).to_pylist()
        for row, values in enumerate(about):
            said = {key: values[key] for key in FACTS if values[key] is not None}
            fact = ImageFacts(**{"content": "", **said, "notes": tuple(said.get("notes", ()))})
            own = source.paths.get(values["name"])
            if own is not None and not own.suffix:  # a worker cannot tell it from a name that is none of a file
                fact = with_suffix_notes(fact, own)
            path = own or images.folder / _file_name(fact)
            samples.append(Sample(path, values["name"], values["label"], values["split"], group=values["group"]))
            facts.append(fact)
            places.append((number, row))
    check_names(samples, source.name)
    image_set, usable = _image_set(source, samples, recipe, known=known, stop=stop)
    order = sorted(usable, key=lambda i: samples[i].name)
    place = {samples[i].name: places[i] for i in order}
    kept = [facts[i] for i in order]

    def read(sample: Sample) -> NDArray[np.uint8]:
        inside = images.folder in sample.path.parents
        data = images.bytes_of(*place[sample.name]) if inside else sample.path
        return open_image(data, rules).rgb

    near = len(samples) <= NEAR_DUPLICATES
    unsearched = () if near else (_not_searched(len(samples)),)
    settings = audit_settings(recipe, rules, stop=stop)
    found, audit = audit_facts(
        image_set, kept, settings, read=read if near else None, progress=progress, earlier=unsearched
    )
    dataset = readable_dataset(replace(image_set, samples=found.samples), found, audit, rules=rules)
    where = np.array([place[one.name] for one in dataset.samples], dtype=np.int64).reshape(-1, 2)
    return ShardedDataset(dataset, where[:, 0], where[:, 1], images)


def _image_set(
    source: ShardedSource, samples: list[Sample], recipe: Recipe, *, known: Sequence[str], stop: bool
) -> tuple[ImageSet, Sequence[int]]:
    """The samples by name, with the classes that can be learnt, and the numbers of those that can be used."""
    at, kept, classes, findings = tuple(range(len(samples))), tuple(samples), source.classes, source.findings
    if not source.paths:  # else a scan has looked at labels and splits
        least = 1 if known else 2
        checked = check_rows(samples, listed_classes=recipe.classes, least=least, where=source.name, stop=stop)
        at, kept, classes = checked.at, checked.samples, checked.classes
        findings = (*findings, *checked.findings)
    by_name = tuple(sorted(kept, key=lambda one: one.name))
    root = Path(source.name).parent
    return ImageSet(root, by_name, classes, findings=findings, source=source.name), at


def _file_name(fact: ImageFacts) -> str:
    return f"{fact.content or 'none'}{SUFFIXES.get(fact.format, ('.bin',))[0]}"


def _not_searched(images: int) -> Finding:
    return Finding(
        "near-duplicates-not-searched",
        "note",
        f"Near duplicates were not searched for among {images:,} images; exact duplicates were.",
        detail={"images": images, "most": NEAR_DUPLICATES},
    )
