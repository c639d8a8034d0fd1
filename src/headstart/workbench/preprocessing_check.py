"""The first look: statistics for random weights; do images arrive as pretrained weights know them?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.data.batches import pixel_batches
from headstart.data.split import DataSplit
from headstart.errors import BackboneError
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck, check_preprocessing
from headstart.progress import Notice, OnEvent
from headstart.recipe import Recipe
from headstart.workbench.prepare import Prepared

_STATISTICS_IMAGES = 256  # means over their maps are steady to a hundredth of the spread; 0.3 GB while they run
_CHECKED_IMAGES = 64


def look_first(
    backbone: Backbone,
    prepared: Prepared,
    parts: DataSplit,
    recipe: Recipe,
    on_event: OnEvent,
    *,
    pretrained: bool = False,
) -> PreprocessingCheck:
    """Estimate the statistics of random weights; ask pretrained ones whether images reach them as they should.

    Args:
        pretrained: whether the weights have learnt, whatever the backbone's row says.

    Raises:
        BackboneError: the first batch norm clearly speaks for another preprocessing, and that was not accepted.
    """
    if not (pretrained or backbone.spec.pretrained):
        _estimate_statistics(backbone, _images(backbone, prepared, parts.train, _STATISTICS_IMAGES, recipe))
        return PreprocessingCheck("not checkable", "its statistics are those of these very images")
    images = _images(backbone, prepared, parts.train, _CHECKED_IMAGES, recipe)
    if len(images) < 2:
        return PreprocessingCheck("not checkable", "there is no second training image")
    check = check_preprocessing(backbone, images, seed=recipe.seed)
    if check.stops and not recipe.accept_preprocessing:
        raise BackboneError(
            expected="images prepared as the network's first batch norm remembers them",
            found=check.interpretation[0],
            where=backbone.spec.name,
            hint=" ".join(check.interpretation[1:]),
        )
    if check.verdict in ("warning", "stop"):
        on_event(Notice(" ".join(check.interpretation)))
    return check


def _images(backbone: Backbone, prepared: Prepared, rows: Sequence[int], most: int, recipe: Recipe) -> torch.Tensor:
    """Some of the images evenly over their order, N×3×S×S uint8."""
    step = max(1, len(rows) // most)
    chosen = [prepared.samples[i].path for i in rows[::step]][:most]
    stream = pixel_batches(
        chosen,
        backbone.preprocess.prepare,
        rules=prepared.rules,
        batch_size=len(chosen),
        workers=recipe.workers or runtime.cores(),
    )
    side = backbone.preprocess.crop
    empty = torch.empty(0, 3, side, side, dtype=torch.uint8)
    return torch.cat([empty, *(batch.pixels for batch in stream if batch.positions)])


def _estimate_statistics(backbone: Backbone, images: torch.Tensor) -> None:
    """Batch-norm statistics of a network that never saw an image, from some of the training images alone."""
    pixels = [backbone.preprocess.normalise(images)] if len(images) else []  # one batch: then one pass is exact
    recalibrate_batch_norm(backbone.network, lambda: pixels)
