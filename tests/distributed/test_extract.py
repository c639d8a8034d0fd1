"""What workers compute of a table of images equals what one machine computes of the same files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbones.backbone import load_backbone
from headstart.classifier.classifier import Classifier
from headstart.data.image_index import ImageIndex
from headstart.data.image_set import Sample
from headstart.data.images import ImageRules, open_image
from headstart.distributed.extract import FACTS, audit_shard, extract_shard, predict_shard
from headstart.distributed.shard import table_of
from headstart.distributed.shard_files import matrix_of
from laid_shards import rows_of


def rows_with_bad(photos: Path, count: int = 5) -> list[dict[str, Any]]:
    rows = rows_of(photos)[:count]
    broken = {"name": "broken.png", "bytes": rows[0]["bytes"][:40], "label": "x"}
    return [*rows[:2], broken, {"name": "gone.png", "bytes": None, "reason": "it is gone", "label": "x"}, *rows[2:]]


def test_facts_equal_those_of_the_image_index(photos: Path, tmp_path: Path) -> None:
    rows = rows_with_bad(photos)
    for row in rows:
        path = tmp_path / "images" / row["name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if row["bytes"] is not None:
            path.write_bytes(row["bytes"])
    found = audit_shard(table_of(rows), ImageRules()).to_pylist()
    samples = [Sample(tmp_path / "images" / row["name"], row["name"]) for row in rows]
    expected = ImageIndex(tmp_path / "index").facts(samples)
    for mine, reference, row in zip(found, expected, rows, strict=True):
        assert mine["name"] == row["name"]
        if row["bytes"] is None:
            assert mine["error"] == "it is gone"
            continue
        assert {key: tuple(mine[key]) if key == "notes" and mine[key] is not None else mine[key] for key in FACTS} == {
            key: getattr(reference, key) for key in FACTS
        }
    assert found[2]["error"]


@pytest.mark.slow
def test_features_equal_those_of_the_network(photos: Path) -> None:
    rows, backbone = rows_with_bad(photos), load_backbone("embedded")
    table = extract_shard(table_of(rows), backbone, backbone.features, rules=ImageRules(), batch_size=3)
    matrix = matrix_of(table)
    assert matrix.shape == (7, sum(backbone.widths))
    for i, row in enumerate(rows):
        if table.column("error")[i].as_py() is not None:
            assert not matrix[i].any()
            continue
        prepared = backbone.preprocess.prepare(open_image(row["bytes"]).rgb)[None]
        expected = backbone.features(backbone.preprocess.normalise(prepared)).numpy()[0]
        np.testing.assert_allclose(matrix[i], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_predictions_equal_the_classifiers(photos: Path, small_classifier: Callable[[bool], Classifier]) -> None:
    classifier, rows = small_classifier(True), rows_with_bad(photos)
    table = predict_shard(table_of(rows), classifier, classifier.backbone.features, batch_size=16)
    assert table.column("name").to_pylist() == [row["name"] for row in rows]
    expected = classifier.predict([row["bytes"] for row in rows if row["bytes"]])
    given = [answer for answer, row in zip(table.to_pylist(), rows, strict=True) if row["bytes"]]
    for answer, reference in zip(given, expected, strict=True):
        assert (answer["predicted"], answer["error"]) == (reference.label, reference.error)
        for name, value in reference.probabilities.items():
            assert answer[f"p({name})"] == value
    assert table.to_pylist()[3]["error"] == "it is gone"


def test_a_table_of_bad_images_has_the_same_columns(
    photos: Path, small_classifier: Callable[[bool], Classifier]
) -> None:
    classifier, rows = small_classifier(True), rows_with_bad(photos)
    with torch.inference_mode():
        good = predict_shard(table_of(rows), classifier, classifier.backbone.features)
        bad = predict_shard(table_of(rows[3:4]), classifier, classifier.backbone.features)
    assert good.schema == bad.schema
