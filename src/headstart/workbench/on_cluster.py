"""predict, embed, audit and evaluate --on: the same work with its images on workers."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headstart import files
from headstart.backbones.backbone import Backbone
from headstart.classifier.classifier import Classifier
from headstart.data.audit.audit import Audit
from headstart.data.dataset import Dataset
from headstart.data.images import ImageRules
from headstart.distributed.engine import Cluster
from headstart.distributed.run_shards import BAD, ShardTables, write_bad
from headstart.distributed.shard_files import matrix_of
from headstart.errors import RecipeError
from headstart.features.matrix import Features
from headstart.workbench.cluster_job import ClusterJob, source_of, source_path
from headstart.workbench.prediction_files import PredictedShards, check_parquet
from headstart.workbench.run import CLASSIFIER, Run, Trained
from headstart.workbench.session import Session

__all__ = ["audit_on", "embed_on", "evaluation_data", "predict_on", "source_path", "write_embeddings"]


@contextlib.contextmanager
def _job(
    session: Session, cluster: Cluster, source: str, *, rules: ImageRules, labelled: bool, known: bool = False
) -> Iterator[ClusterJob]:
    found = source_of(session, source, labelled=labelled, known=known)
    with cluster.start() as engine:
        yield ClusterJob(session, cluster, engine, found, rules=rules)


def predict_on(
    session: Session, cluster: Cluster, trained: Trained, model: Classifier, *, source: str, out: Path
) -> PredictedShards:  # six: whose predictions of what, where
    """Predictions of every image of a source in a Parquet file.

    Raises:
        DataError: there is nothing to read. RunError: the file cannot be written.
    """
    check_parquet(out)
    with _job(session, cluster, source, rules=model.rules, labelled=False) as job:
        file, key = _file_of(trained, model, cluster)
        found, _ = job.predictions(model, file, key)
    _write_tables(out, [table.rename_columns(["path", *table.column_names[1:]]) for table in found.tables])
    counts: Counter[str] = Counter()
    damaged = 0
    for table in found.tables:
        for pair in table.column("predicted").value_counts().to_pylist():
            if pair["values"] is not None:
                counts[pair["values"]] += pair["counts"]
        damaged += len(table) - table.column("damaged").null_count
    predicted = {name: counts.get(name, 0) for name in model.classes}
    return PredictedShards(out, found.images, predicted, found.bad, damaged=damaged)


def embed_on(session: Session, cluster: Cluster, backbone: Backbone, *, source: str, stages: Sequence[str]) -> Features:
    """Features of the readable images of a source, sorted by name; the others are named.

    Raises:
        DataError: there is nothing to read, or too many images cannot be read.
    """
    with _job(session, cluster, source, rules=session.rules, labelled=False) as job:
        found, where = job.features(backbone, job.forward(backbone).name)
    if found.bad:
        path = write_bad(where.folder / BAD, found.bad)
        session.notice(f"{len(found.bad):,} images could not be read and are left out; they are listed in {path}")
    table = _readable(found)
    slices = {stage: (columns.start, columns.stop) for stage, columns in backbone.slices.items()}
    names, contents = (tuple(table.column(name).to_pylist()) for name in ("name", "content"))
    return Features(matrix_of(table), slices, names, contents).of_stages(stages)


def audit_on(session: Session, cluster: Cluster, source: str) -> Audit:
    """The audit of a source; images are decoded by workers.

    Raises:
        DataError: there is nothing to read.
    """
    if session.recipe.review is not None:
        raise RecipeError(
            expected="an audit without --review, or without --on", found="both", where="--on", hint="Leave out one."
        )
    with _job(session, cluster, source, rules=session.rules, labelled=False) as job:
        found, where = job.facts()
        return job.dataset(found, where, stop=False).dataset.audit


def evaluation_data(
    session: Session, cluster: Cluster, model: Classifier, *, source: str, rules: ImageRules
) -> tuple[Dataset, Features]:
    """The audited images of a source with classes, and their features of a classifier's backbone.

    Raises:
        DataError: there is nothing to read, or no image of a class that it knows.
    """
    with _job(session, cluster, source, rules=rules, labelled=True, known=True) as job:
        found, where = job.features(model.backbone, job.forward(model.backbone).name)
        sharded = job.dataset(found, where, known=model.classes)
    dataset = sharded.dataset
    slices = {stage: (columns.start, columns.stop) for stage, columns in model.backbone.slices.items()}
    matrix = np.empty((len(dataset), sum(model.backbone.widths)), np.float32)
    for number, table in enumerate(found.tables):
        here = np.flatnonzero(sharded.shard == number)
        matrix[here] = matrix_of(table)[sharded.row[here]]
    return dataset, Features(matrix, slices, tuple(sample.name for sample in dataset.samples), dataset.contents)


def write_embeddings(path: Path, features: Features) -> Path:
    """Write features as Parquet: path, sha256, and a list of numbers for each stage.

    Raises:
        RunError: it cannot be written there.
    """
    check_parquet(path)
    columns = {"path": pa.array(map(files.printable, features.names)), "sha256": pa.array(features.contents)}
    for stage in features.stages:
        values = np.ascontiguousarray(features[stage])
        columns[stage] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    _write_tables(path, [pa.table(columns)])
    return path


def _readable(found: ShardTables) -> pa.Table:
    """Names, contents and features of the readable images of all shards, sorted by name."""
    wanted = ["name", "content", "features"]
    parts = [table.filter(table.column("error").is_null()).select(wanted) for table in found.tables]
    table = pa.concat_tables(parts)
    return table.take(pa.array(sorted(range(len(table)), key=table.column("name").to_pylist().__getitem__)))


def _write_tables(path: Path, tables: Sequence[pa.Table]) -> None:
    with (
        files.atomic_write(path) as part,
        part.open("wb") as file,  # its path may not be UTF-8
        pq.ParquetWriter(file, tables[0].schema) as writer,
    ):
        for table in tables:  # a row group for each shard
            writer.write_table(table)


def _file_of(trained: Trained, model: Classifier, cluster: Cluster) -> tuple[Path, str]:
    """The classifier's file and its SHA-256; one that is in memory is written beside the results."""
    path = trained.folder / CLASSIFIER if isinstance(trained, Run) else trained
    if isinstance(path, Classifier):
        folder = files.make_folder(cluster.folder)
        path = model.save(folder / f"classifier-{model.backbone.fingerprint[:16]}.safetensors")
    path = Path(path)
    path = path / CLASSIFIER if path.is_dir() else path
    return path.absolute(), hashlib.sha256(path.read_bytes()).hexdigest()
