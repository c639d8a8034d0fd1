"""What the verbs share that run on workers: the source's shards, the network as a file, results of shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.data.images import ImageRules
from headstart.distributed.engine import Cluster, Engine
from headstart.distributed.jobs import ShardWork
from headstart.distributed.run_shards import ShardTables, run_shards
from headstart.distributed.shard_files import ShardFiles
from headstart.distributed.sharded_dataset import ShardedDataset, sharded_dataset
from headstart.distributed.sources import ShardedSource, find_shards
from headstart.engines.choose import Engine as ForwardEngine
from headstart.errors import ClassifierError
from headstart.features.cache import READER
from headstart.files import make_folder, remove
from headstart.heads.head import Head
from headstart.workbench.run import check_not_run
from headstart.workbench.session import Session

_MANY = 100_000  # images of a source whose number is not known before it is read


@dataclass(frozen=True)
class ClusterJob:
    """One verb's work on a source.

    Args:
        engine: runs jobs. rules: how images are opened.
    """

    session: Session
    cluster: Cluster
    engine: Engine
    source: ShardedSource
    rules: ImageRules

    def run(self, work: ShardWork, about: dict[str, object], *, step: str) -> tuple[ShardTables, ShardFiles]:
        """Do the work on every shard that has no result yet; the progress is reported under the step's name.

        Raises:
            DataError: too many images cannot be read.
        """
        files = ShardFiles(self.cluster.folder, {"kind": work.kind, **self._opening(), **about})
        # an audit lists them, and says afterwards whether they are too many
        most = 1.0 if work.kind in ("audit", "predict") else self.session.recipe.max_bad_share
        progress = self.session.progress(step)
        with self.session.signs_of_life(step):
            found = run_shards(self.engine, self.source, work, files, max_bad_share=most, progress=progress)
        if found.resumed:
            self.session.notice(
                f"Resumed: {found.resumed:,} of {found.images:,} images were done before, in {files.folder}."
            )
        return found, files

    def features(self, backbone: Backbone, engine: str) -> tuple[ShardTables, ShardFiles]:
        """Facts and features of every image.

        Args:
            engine: name of the one that runs the forward pass.

        Raises:
            DataError: too many images cannot be read.
        """
        recipe = self.session.recipe
        work = ShardWork(
            "extract",
            self.rules,
            self._carry(backbone),
            engine=engine,
            device=recipe.device,
            batch_size=recipe.batch_size,
        )
        return self.run(work, _network(backbone), step="extract features")

    def forward(self, backbone: Backbone) -> ForwardEngine:
        """The engine that workers build for the forward pass, chosen here once for all of them."""
        return self.session.engine(backbone, self.source.images or _MANY)

    def facts(self) -> tuple[ShardTables, ShardFiles]:
        """Facts of every image, without a network."""
        return self.run(ShardWork("audit", self.rules), {}, step="read images")

    def predictions(self, classifier: Classifier, file: Path, key: str) -> tuple[ShardTables, ShardFiles]:
        """Predictions of a classifier file; `key`: its SHA-256."""
        recipe = self.session.recipe
        engine = self.forward(classifier.backbone).name
        work = ShardWork("predict", self.rules, file, engine=engine, device=recipe.device, batch_size=recipe.batch_size)
        return self.run(work, {"classifier": key}, step="predict")

    def dataset(
        self, found: ShardTables, files: ShardFiles, *, known: Sequence[str] = (), stop: bool = True
    ) -> ShardedDataset:
        """The audited dataset; see `load_dataset`.

        Raises:
            DataError: there is no usable set.
        """
        return sharded_dataset(
            self.source,
            found.tables,
            self.session.recipe,
            rules=self.rules,
            folder=files.folder,
            known=known,
            stop=stop,
            progress=self.session.progress,
        )

    def _opening(self) -> dict[str, object]:
        rules = self.rules
        return {"background": rules.background, "bit_depth": rules.bit_depth, "max_pixels": rules.max_pixels,
                "keep_damaged": rules.keep_damaged, "reader": READER}  # fmt: skip

    def _carry(self, backbone: Backbone) -> Path:
        """The network as a classifier file beside the results, whose head means nothing."""
        folder = make_folder(self.cluster.folder)
        path = folder / f"network-{ShardFiles(folder, _network(backbone)).folder.name}.safetensors"
        if not _is_whole(path):
            stage, flips = backbone.stages[-1], backbone.flip_tta
            head = Head("ridge", (stage,), np.zeros((backbone.widths[-1], 2)), np.zeros(2), temperature=1.0,
                        unit=flips is None or flips.unit, flip_tta=flips is not None)  # fmt: skip
            card = Card.of(backbone, head, ("a", "b"), background=self.rules.background, bit_depth=self.rules.bit_depth)
            Classifier(backbone, head, card).save(path)
        return path


def _is_whole(path: Path) -> bool:
    """Whether a classifier file can be opened; that of a user's module cannot, and is written each time."""
    try:
        Classifier.load(path)
    except ClassifierError:
        if path.is_dir():
            remove(path)  # what a file cannot be put in the place of
        return False
    return True


def _network(backbone: Backbone) -> dict[str, object]:
    flips = {} if backbone.flip_tta is None else {"flip_tta": backbone.flip_tta.name}  # other features, as in the cache
    return {
        "backbone": backbone.spec.name,
        "weights": backbone.fingerprint,
        "preprocess": backbone.preprocess.to_dict(),
        "stages": backbone.stages,
        **flips,
    }


def source_path(session: Session, source: object) -> str:
    """What the user named, as a path, pattern or address; images that are given as values are kept as a table.

    Raises:
        DataError: it is no data set.
    """
    text = str(source) if isinstance(source, Path) else source
    return text if isinstance(text, str) else str(session.source(source))


def source_of(session: Session, source: str, *, labelled: bool = True, known: bool = False) -> ShardedSource:
    """The shards of a path, pattern or address.

    Args:
        labelled, known: see `find_shards`.

    Raises:
        DataError: there is nothing to read.
    """
    if Path(source).exists():
        check_not_run(source)
    unpack_into, verify = runtime.cache_folder() / "archives", session.recipe.verify
    return find_shards(source, session.layout, unpack_into=unpack_into, labelled=labelled, known=known, verify=verify)
