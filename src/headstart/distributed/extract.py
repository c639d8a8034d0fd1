"""What is computed of a table of images, whatever engine runs it: facts, features, predictions; each decoded once.

`audit_shard`, `extract_shard` and `predict_shard` take a table of the schema `shard.ROWS` and give a table with a row
for each of its rows, in their order; an image that cannot be read has its reason in `error`, and is never lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from headstart.backbones.backbone import Backbone
from headstart.classifier.classifier import Classifier
from headstart.classifier.predictions import Prediction, Predictions
from headstart.data.image_index import ImageFacts, facts_of, with_suffix_notes
from headstart.data.images import BadImage, ImageRules, open_image

Forward = Callable[[torch.Tensor], torch.Tensor]
Prepare = Callable[[NDArray[np.uint8]], torch.Tensor]

_TYPES = {"str": pa.string(), "str | None": pa.string(), "int": pa.int32(), "tuple[str, ...]": pa.list_(pa.string()),
          "bytes": pa.binary()}  # fmt: skip
FACTS = {field.name: _TYPES[str(field.type)] for field in fields(ImageFacts)}
"""Columns of what decoding shows, all that one machine knows of an image."""
_BATCH = 32  # images in one forward pass, as in training on one machine


@dataclass(frozen=True)
class _Batch:
    """Some rows of a table: the facts of each, and the prepared pixels n×3×S×S uint8 of those that could be read."""

    facts: list[ImageFacts]
    pixels: torch.Tensor | None


def audit_shard(rows: pa.Table, rules: ImageRules) -> pa.Table:
    """Facts of every image: its hashes, size, format, a small grey picture, or why it cannot be read."""
    facts = [fact for batch in _batches(rows, rules, None) for fact in batch.facts]
    return _described(rows, facts)


def extract_shard(
    rows: pa.Table, backbone: Backbone, forward: Forward, *, rules: ImageRules, batch_size: int = _BATCH
) -> pa.Table:
    """Facts and features of every image, `features` a fixed-size list of all stages side by side, raw float32.

    Args:
        forward: an engine's function from normalised pixels to features.
    """
    facts: list[ImageFacts] = []
    matrix = np.zeros((len(rows), sum(backbone.widths)), dtype=np.float32)  # N×D; zeros where there is no image
    with torch.inference_mode():
        for batch in _batches(rows, rules, backbone.preprocess.prepare, batch_size=batch_size):
            good = [len(facts) + i for i, fact in enumerate(batch.facts) if fact.error is None]
            facts += batch.facts
            if batch.pixels is not None:
                matrix[good] = forward(backbone.preprocess.normalise(batch.pixels)).cpu().numpy()
    values = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return _described(rows, facts).append_column("features", values)


def predict_shard(rows: pa.Table, classifier: Classifier, forward: Forward, *, batch_size: int = _BATCH) -> pa.Table:
    """The columns of `Predictions.to_dict` for every image, with `name` and `predicted` for its path and label.

    An image that is damaged is predicted from what could be decoded, and `damaged` says so, as `predict` does.
    """
    names, data = rows.column("name").to_pylist(), rows.column("bytes").to_pylist()
    reasons = rows.column("reason").to_pylist()
    answers = classifier.stream([one for one in data if one is not None], batch_size=batch_size, forward=forward)
    found = Predictions()
    for name, one, reason in zip(names, data, reasons, strict=True):
        answer = next(answers) if one is not None else Prediction(name, None, 0.0, {}, error=reason or "no image")
        found.append(replace(answer, name=name))
    columns = {_RENAMED.get(name, name): values for name, values in found.to_dict().items()}
    for name in classifier.classes:
        columns.setdefault(f"p({name})", [None] * len(found))  # a table without a readable image has the same columns
    order = sorted(columns, key=lambda name: name.startswith("p("))
    return pa.table({name: pa.array(columns[name], type=_type_of(name, columns[name])) for name in order})


_RENAMED = {"path": "name", "label": "predicted"}
_FLAGS = ("familiar", "atypical")


def _type_of(name: str, values: list[Any]) -> pa.DataType:
    """The type of a column, whatever it holds in this table."""
    if name == "probability" or name.startswith("p(") or name.endswith("_percentile"):
        return pa.float64()
    if name in _FLAGS:
        return pa.bool_()
    lists = any(isinstance(value, (list, tuple)) for value in values) or name == "prediction_set"
    return pa.list_(pa.string()) if lists else pa.string()


def _batches(
    rows: pa.Table, rules: ImageRules, prepare: Prepare | None, *, batch_size: int = _BATCH
) -> Iterator[_Batch]:
    """Rows decoded and prepared, each once."""
    for begin in range(0, len(rows), batch_size):
        facts, pixels = [], []
        for row in rows.slice(begin, batch_size).to_pylist():
            fact, rgb = _decoded(row, rules)
            facts.append(fact)
            if prepare is not None and rgb is not None:
                pixels.append(prepare(rgb))
        yield _Batch(facts, torch.stack(pixels) if pixels else None)


def _decoded(row: dict[str, Any], rules: ImageRules) -> tuple[ImageFacts, NDArray[np.uint8] | None]:
    data = row["bytes"]
    if data is None:
        return ImageFacts("", error=row["reason"] or "no image"), None
    content = hashlib.sha256(data).hexdigest()
    try:
        image = open_image(data, rules)
    except BadImage as bad:
        return ImageFacts(content, error=bad.reason), None
    fact, name = facts_of(content, image), Path(row["name"])
    return with_suffix_notes(fact, name) if name.suffix and "#" not in name.suffix else fact, image.rgb


def _described(rows: pa.Table, facts: list[ImageFacts]) -> pa.Table:
    """The rows without their bytes, with what was found."""
    table = rows.select(["name", "label", "group", "split"])
    for name, type_ in FACTS.items():
        values = [getattr(fact, name) for fact in facts]
        plain = [list(value) if isinstance(value, tuple) else value for value in values]
        table = table.append_column(name, pa.array(plain, type=type_))
    return table
