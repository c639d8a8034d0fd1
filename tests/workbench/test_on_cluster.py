"""predict, embed, audit and evaluate --on: the answers of one machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import headstart as hs
from headstart.errors import RecipeError
from headstart.workbench.prediction_files import PredictedShards
from laid_shards import rows_of, write_parquet


@pytest.mark.slow  # worker processes import torch, three times
def test_the_answers_are_those_of_one_machine(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    rows = [*rows_of(photos), {"name": "broken.png", "bytes": b"no image", "label": "disc"}]
    table = write_parquet(tmp_path / "photos.parquet", rows)
    where = hs.Cluster(processes=1, shards=tmp_path / "shards")

    found = hs.predict(run, table, on=where, out=tmp_path / "p.parquet", on_event=None)
    assert isinstance(found, PredictedShards)
    assert (found.images, list(found.bad), sum(found.predicted.values())) == (49, ["broken.png"], 48)
    written = {row["path"]: row for row in pq.read_table(found.file).to_pylist()}
    for row, one in zip(rows, run.classifier.predict([row["bytes"] for row in rows]), strict=True):
        assert (written[row["name"]]["predicted"], bool(written[row["name"]]["error"])) == (one.label, bool(one.error))
        for name, value in one.probabilities.items():
            assert written[row["name"]][f"p({name})"] == pytest.approx(value, abs=1e-6)

    mine = hs.embed(table, on=where, out=tmp_path / "e.parquet", backbone="embedded")
    reference = hs.embed(photos, backbone="embedded")
    by_content = dict(zip(reference.contents, reference.matrix, strict=True))
    assert len(mine.names) == 48
    for content, vector in zip(mine.contents, mine.matrix, strict=True):
        np.testing.assert_allclose(vector, by_content[content], rtol=1e-4, atol=1e-5)
    assert pq.read_table(tmp_path / "e.parquet").column_names == ["path", "sha256", *mine.stages]

    assert hs.audit(photos, on=where, on_event=None) == hs.audit(photos, on_event=None)
    assert (
        hs.evaluate(run, photos, on=where, on_event=None).to_dict() == hs.evaluate(run, photos, on_event=None).to_dict()
    )


@pytest.mark.slow  # a worker process imports torch
def test_an_audit_on_workers_says_that_too_many_images_cannot_be_read(photos: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(photos, tmp_path / "tree")
    for number in range(5):
        (tree / "disc" / f"broken-{number}.png").write_bytes(b"no image")
    where = hs.Cluster(processes=1, shards=tmp_path / "shards")
    audited = hs.audit(tree, on=where, on_event=None)
    assert audited == hs.audit(tree, on_event=None)
    assert "too-many-unreadable" in {finding.kind for finding in audited.findings}


@pytest.mark.slow
def test_what_workers_do_not_write_is_refused(run: hs.Run, photos: Path, tmp_path: Path) -> None:
    for options, words in (
        ({"csv": tmp_path / "p.csv"}, "--csv"),
        ({"format": "json"}, "--format"),
        ({"sort_into": tmp_path / "s"}, "--sort-into"),
        ({"out": tmp_path / "p.csv"}, r"a file \.parquet"),
    ):
        with pytest.raises(RecipeError, match=words):
            hs.predict(run, photos, on="local", on_event=None, **options)
    with pytest.raises(RecipeError, match="one source with --on"):
        hs.predict(run, [photos, photos], on="local", on_event=None)
    with pytest.raises(RecipeError, match=r"a file \.parquet"):
        hs.embed(photos, out=tmp_path / "e.csv", backbone="embedded")
