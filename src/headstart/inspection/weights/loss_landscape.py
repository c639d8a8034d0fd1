"""The loss as a function of the weights: what the looks along a line and over a plane share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import DataError, RecipeError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel
from headstart.inspection.wording import many

SETTLED = ("as they are", "re-estimated")
"""Batch norm's statistics on the way: interpolated with the weights (or those of the model), or measured anew at each
point. Interpolated weights with interpolated statistics do not fit each other: variances shrink between two networks
(Jordan et al. 2022, arXiv:2211.08403), so a barrier may vanish when they are measured anew."""


def labels_of(subject: InspectedModel, images: InspectedImages, logits: Tensor) -> Tensor:
    """Labels as columns of the logits.

    Raises:
        DataError: the images have none, or they name no classes of the model.
    """
    labels = subject.targets(images, logits)
    if labels is None:
        found = "none" if images.labels is None else f"labels of {many(len(images.classes), 'other class')}"
        raise DataError(
            expected=f"images with labels of the model's {many(logits.shape[1], 'class')}",
            found=found,
            where="landscape",
            hint="The loss needs right answers: take a classifier that was trained on these classes.",
        )
    return labels


@torch.inference_mode()
def loss_of_images(subject: InspectedModel, images: InspectedImages) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each image, N float64, and whether its answer is right, N."""
    logits = torch.cat([subject.logits(pixels) for pixels in images.batches()]).double()
    labels = labels_of(subject, images, logits)
    return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(1) == labels


def settle(subject: InspectedModel, images: InspectedImages, statistics: str) -> None:
    """Measure batch norm's statistics anew on the images, where that is asked for."""
    if statistics == SETTLED[1]:

        def walk() -> Iterator[Tensor]:
            return images.batches(len(images) if len(images) <= _ONE_PASS else 32)

        recalibrate_batch_norm(subject.network, walk)


def check_statistics(statistics: str) -> None:
    """Refuse what is neither of `SETTLED`.

    Raises:
        RecipeError: it is not.
    """
    if statistics not in SETTLED:
        raise RecipeError(expected=" or ".join(SETTLED), found=repr(statistics), where="statistics")


_ONE_PASS = 64  # images in one batch: a single pass is then enough (300 MB with ResNet-18 at 224)
