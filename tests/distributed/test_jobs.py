"""Jobs: shards into result files, and what is counted of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.classifier.classifier import Classifier
from headstart.data.images import ImageRules
from headstart.distributed.jobs import Layout, Rows, ShardJob, ShardWork, result_of
from headstart.distributed.remote import identity
from headstart.distributed.shard import FileShard, ImageRow
from headstart.distributed.shard_files import ShardFiles, matrix_of
from headstart.errors import RunError


def shard_of(folder: Path) -> FileShard:
    paths = sorted(folder.rglob("*.png"))[:3]
    rows = [ImageRow(path.name, str(path), path.parent.name, None, None, identity(str(path))) for path in paths]
    return FileShard((*rows, ImageRow("gone.png", "/gone.png", "x", None, None, "")))


@pytest.mark.slow
def test_features_of_a_shard_are_those_of_its_network(
    photos: Path, tmp_path: Path, small_classifier: Callable[[bool], Classifier]
) -> None:
    model, shard = small_classifier(True), shard_of(photos)
    work = ShardWork("extract", ImageRules(), model.save(tmp_path / "m.safetensors"))
    files = ShardFiles(tmp_path, {})

    result = ShardJob(work, files).make()(shard)

    assert (result.images, list(result.bad)) == (4, ["gone.png"])
    table = files.read(shard.key)
    assert result_of(table) == result
    head = matrix_of(table)[:3]
    pixels = [model.backbone.preprocess.prepare(np.asarray(_rgb(Path(row.path)))) for row in shard.rows[:3]]
    import torch

    expected = model.backbone.features(model.backbone.preprocess.normalise(torch.stack(pixels))).numpy()
    np.testing.assert_allclose(head, expected, rtol=1e-4, atol=1e-5)


def _rgb(path: Path) -> np.ndarray:
    from headstart.data.images import open_image

    return open_image(path).rgb


def test_features_that_are_gone_are_named(tmp_path: Path) -> None:
    none = np.zeros(0, dtype=np.int64)
    item = Rows(tmp_path / "gone.arrow", none, none, none, none, np.zeros(0), none)
    with pytest.raises(RunError, match=r"Run the same command again"):
        Layout({"pooled": (0, 2)}, ("pooled",), 2).view(item)
