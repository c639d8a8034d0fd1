"""Check before training: do images reach pretrained weights as they should? Statistics for untrained networks."""

from __future__ import annotations

import torch

from headstart.backbones.backbone import Backbone
from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.data.dataset import Dataset
from headstart.errors import BackboneError
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck, check_preprocessing
from headstart.workbench.session import Session
from headstart.workbench.starting_point import StartingPoint

_STATISTICS_IMAGES = 256  # means over their maps are steady to a hundredth of the spread; 0.3 GB while they run
CHECKED_IMAGES = 64


def check_images(session: Session, start: StartingPoint, dataset: Dataset) -> PreprocessingCheck:
    """Compare training images with the statistics of the first batch norm; estimate those of an untrained network.

    Raises:
        BackboneError: the first batch norm clearly implies another preprocessing, and that was not accepted.
    """
    backbone = start.backbone
    if not (start.continues or backbone.spec.pretrained):
        _estimate_statistics(backbone, _images(session, backbone, dataset, most=_STATISTICS_IMAGES))
        return PreprocessingCheck("not checkable", "its statistics are those of these very images")
    return check_pixels(session, backbone, _images(session, backbone, dataset, most=CHECKED_IMAGES))


def check_pixels(session: Session, backbone: Backbone, images: torch.Tensor) -> PreprocessingCheck:
    """Compare images with the statistics of the first batch norm.

    Args:
        images: N×3×S×S uint8, as its preprocessing prepares them.

    Raises:
        BackboneError: it clearly implies another preprocessing, and that was not accepted.
    """
    if len(images) < 2:
        return PreprocessingCheck("not checkable", "there is no second training image")
    check = check_preprocessing(backbone, images, seed=session.recipe.seed)
    if check.stops and not session.recipe.accept_preprocessing:
        raise BackboneError(
            expected="images prepared as the statistics of the network's first batch norm imply",
            found=check.interpretation[0],
            where=backbone.spec.name,
            hint=" ".join(check.interpretation[1:]),
        )
    if check.verdict in ("warning", "stop"):
        session.notice(" ".join(check.interpretation))
    return check


def _images(session: Session, backbone: Backbone, dataset: Dataset, *, most: int) -> torch.Tensor:
    """Some of the training images, evenly over their order, N×3×S×S uint8."""
    indices = dataset.indices("train")
    chosen = indices[:: max(1, len(indices) // most)][:most]
    return session.pixels([dataset.samples[i] for i in chosen], backbone.preprocess, dataset.rules)[0]


def _estimate_statistics(backbone: Backbone, images: torch.Tensor) -> None:
    """Batch-norm statistics of a network that never saw an image, from some of the training images alone."""
    pixels = [backbone.preprocess.normalise(images)] if len(images) else []  # one batch: then one pass is exact
    recalibrate_batch_norm(backbone.network, lambda: pixels)
