"""A training whose images are on workers: features by shards, the dataset, the head from statistics.

It gives what a training on one machine has, so that the same evaluation, files and report follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from headstart.curation.overlay import Overlay, lay_over
from headstart.data.dataset import Dataset, Labels
from headstart.data.images import BadImage, open_image
from headstart.distributed.engine import Cluster, Engine
from headstart.distributed.jobs import Layout, Rows
from headstart.distributed.probe import ShardedRows, fit_from_shards
from headstart.distributed.run_shards import BAD, ShardTables, write_bad
from headstart.distributed.shard_files import ShardFiles, matrix_of
from headstart.distributed.sharded_dataset import ShardedDataset
from headstart.engines.choose import Engine as ForwardEngine
from headstart.errors import RecipeError
from headstart.evaluation.evaluation import Evaluation
from headstart.features.extract import Extraction
from headstart.features.features_file import create_file, seal_file
from headstart.features.matrix import Features
from headstart.heads.linear_probe import LinearProbe, TrainingRows, class_weights
from headstart.heads.sufficient_statistics import fold_of
from headstart.workbench.cluster_job import ClusterJob, source_of
from headstart.workbench.preprocessing_check import CHECKED_IMAGES, check_pixels
from headstart.workbench.session import Extracted, Session
from headstart.workbench.starting_point import choose_backbone
from headstart.workbench.training_plan import layer_choices
from headstart.workbench.write_run import inspected

_SHOWN = 24  # images of each finding for the report

# options whose other values need all images on one machine
_NEEDED = {"strategy": ("probe",), "head": ("ridge", "kernel"), "precision": ("float32",)}


def check_recipe(session: Session) -> None:
    """Refuse what workers do not do, before anything is read.

    Raises:
        RecipeError: something is fine-tuned, the head is neither ridge nor kernel, the network is in low precision or
            the user's own.
    """
    recipe = session.recipe
    for name, values in _NEEDED.items():
        if getattr(recipe, name) not in values:
            raise _refused(f"--{name} {' or '.join(values)}", f"--{name} {getattr(recipe, name)}")
    if session.backbone is not None and not session.backbone.spec.builder:
        raise _refused("a backbone of the catalogue, which every worker can build", "a module of your own")


def _refused(expected: str, found: str) -> RecipeError:
    hint = "Workers extract features and solve ridge or a kernel from their statistics; leave out --on for all else."
    return RecipeError(expected=expected, found=found, where="--on", hint=hint)


class ClusterTraining:
    """One training on workers.

    Attributes:
        start: the backbone. check: whether images reach it as its first batch norm implies.

    Raises:
        DataError: there is nothing to read. BackboneError: images are prepared in another way than the weights know.
        RecipeError: the network is untrained.
    """

    def __init__(self, session: Session, cluster: Cluster, engine: Engine, source: str) -> None:  # what it is made of
        self.session, self.cluster, self.engine = session, cluster, engine
        self.leaves_out = cluster.held_out == "left-out"
        start = self.start = choose_backbone(session)
        if not start.backbone.spec.pretrained:
            raise _refused("pretrained weights", f"{start.backbone.spec.name}, untrained (random weights)")
        self.job = ClusterJob(session, cluster, engine, source_of(session, source), rules=session.rules)
        self.check = check_pixels(session, start.backbone, self._first_images())
        self._forward: ForwardEngine
        self._found: ShardTables
        self._files: ShardFiles
        self._sharded: ShardedDataset
        self._dataset: Dataset

    def _first_images(self) -> torch.Tensor:
        """Some prepared images of the first shards, N×3×S×S uint8."""
        prepare, rules = self.start.backbone.preprocess.prepare, self.job.rules
        pixels = [torch.empty(0, 3, *[self.start.backbone.preprocess.crop] * 2, dtype=torch.uint8)]
        for data in self._some_bytes():
            try:
                pixels.append(prepare(open_image(data, rules).rgb)[None])
            except BadImage:
                continue  # it is counted when its shard is read
        return torch.cat(pixels)

    def _some_bytes(self) -> Iterator[bytes]:
        left = CHECKED_IMAGES
        for shard in self.job.source.shards:
            for table in shard.tables():
                for value in table.column("bytes").slice(0, left):
                    left -= 1
                    if (data := value.as_py()) is not None:
                        yield data
                if left <= 0:
                    return

    def extract(self) -> Overlay:
        """Features of all images, and the dataset with its split, under the decisions of a review.

        Raises:
            DataError: too many images cannot be read, or no honest test is possible.
        """
        recipe = self.session.recipe
        self._forward = self.job.forward(self.start.backbone)
        self._found, self._files = self.job.features(self.start.backbone, self._forward.name)
        sharded = self.job.dataset(self._found, self._files)
        overlay = lay_over(
            sharded.dataset.with_split(recipe.test_share, recipe.seed, stable=recipe.stable_split),
            self.session.decisions,
        )
        if recipe.review is not None:
            self.session.notice(overlay.summary)
        self._sharded, self._dataset = sharded.of(overlay.dataset), overlay.dataset
        return overlay

    def plan(self) -> dict[str, str]:
        """Label → text, in the order to show."""
        recipe, cluster = self.session.recipe, self.cluster
        spec, weights = self.start.backbone.spec, self.start.backbone.weights
        at = f" at {cluster.address}" if cluster.address else ""
        because = f", {self.start.reason}" if self.start.reason else ""
        return {
            "backbone": f"{spec.title} ({spec.parameters:.1f} M parameters){because}",
            "weights": weights.source,
            "licence": weights.licence,
            "head": f"{recipe.head} on {', '.join(spec.choose_stages(recipe.layers))}, from statistics of shards",
            "workers": f"{cluster.engine}{at}: {len(self.job.source.shards):,} shards, results in {self._files.folder}",
        }

    def features(self, into: Path) -> Extracted:
        """Features of the dataset's images, in their order, as a file of the run."""
        backbone, dataset, tables = self.start.backbone, self._dataset, self._found.tables
        slices = {stage: (columns.start, columns.stop) for stage, columns in backbone.slices.items()}
        names = tuple(sample.name for sample in dataset.samples)
        matrix = create_file(into, names, dataset.contents, slices=slices)
        for number, table in enumerate(tables):
            here = np.flatnonzero(self._sharded.shard == number)
            matrix[here] = matrix_of(table)[self._sharded.row[here]]
        seal_file(into, matrix)
        seconds = self.session.seconds.get("features", 0.0)
        extraction = Extraction(self._found.resumed, self._found.images - self._found.resumed, seconds)
        return Extracted(Features(matrix, slices, names, dataset.contents), extraction, self._forward)

    def solve(self) -> LinearProbe:
        """The head at the recipe's stages.

        Raises:
            DataError: no group can be held out.
        """
        recipe, dataset, backbone = self.session.recipe, self._dataset, self.start.backbone
        train, held = dataset.indices("train"), dataset.indices("validation")
        labels, groups, classes = dataset.labels, dataset.groups(), len(dataset.classes)
        training = TrainingRows(
            rows=train,
            labels=labels[train],
            groups=groups[train],
            classes=classes,
            validation_rows=held,
            validation_labels=labels[held],
        )
        stages = layer_choices(backbone, recipe.layers)[recipe.layers]
        slices = {stage: (columns.start, columns.stop) for stage, columns in backbone.slices.items()}
        rows = ShardedRows(
            Layout(slices, stages, classes),
            tuple(self._rows(train, groups)),
            tuple(self._rows(held, groups)) if training.validates else (),
        )
        progress = self.session.progress("solve head", unit="maps")
        return fit_from_shards(
            self.engine,
            rows,
            layers=recipe.layers,
            held_out=self.cluster.held_out,
            progress=progress,
            kind=recipe.head,
        )

    def _rows(self, indices: Labels, groups: Labels) -> Iterator[Rows]:
        """The rows of these images in each shard that has one."""
        dataset, shard, balance = self._dataset, self._sharded.shard[indices], self.session.recipe.balance
        labels = dataset.labels[indices]
        weights = class_weights(labels, len(dataset.classes)) if balance == "equal" else np.ones(len(indices))
        folds = np.array([fold_of(name) for name in self._group_names(indices, groups)], dtype=np.int64)
        for number in np.unique(shard):
            here = np.flatnonzero(shard == number)
            chosen = indices[here]
            path = self._files.path(self.job.source.shards[number].key)
            rows = self._sharded.row[chosen]
            yield Rows(
                path, rows, labels[here], groups[chosen], folds=folds[here], weights=weights[here], images=chosen
            )

    def _group_names(self, indices: Labels, groups: Labels) -> list[str]:
        """A name for each image's group that does not change when images are added: its smallest content hash."""
        names: dict[int, str] = {}
        for group, content in zip(groups.tolist(), self._dataset.contents, strict=True):
            names[group] = min(names.get(group, content), content)
        return [names[group] for group in groups[indices].tolist()]

    def write_files(self, evaluation: Evaluation) -> None:
        """Write images that the report and the inspection show into files, where they have none."""
        dataset = self._dataset
        place = {sample.name: i for i, sample in enumerate(dataset.samples)}
        named = [one.name for one in evaluation.mistakes]
        for finding in dataset.findings():
            named += [*finding.names[:_SHOWN], *[name for group in finding.groups[:_SHOWN] for name in group[:4]]]
        shown = [place[name] for name in named if name in place]
        self._sharded.write_files([*shown, *inspected(dataset)])

    def write_bad(self, folder: Path) -> None:
        """Write the table of images that could not be read, if there are any."""
        if self._found.bad:
            write_bad(folder / BAD, self._found.bad)
