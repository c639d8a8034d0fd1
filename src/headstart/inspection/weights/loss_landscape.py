"""The loss as a function of the weights: what the analyses along a line and over a plane share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.backbones.recalibrate import recalibrate_batch_norm
from headstart.errors import DataError
from headstart.inspection.inspected_images import BATCH, InspectedImages
from headstart.inspection.inspected_model import InspectedModel
from headstart.wording import counted

_ONE_PASS = 64  # images in one batch: a single pass is then enough (300 MB with ResNet-18 at 224)


@torch.inference_mode()
def loss_of_images(inspected: InspectedModel, images: InspectedImages) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each image, N float64, and whether it is classified correctly, N bool.

    Raises:
        DataError: the images have no labels, or labels of other classes than the model's.
    """
    logits = torch.cat([inspected.logits(pixels) for pixels in images.batches()]).double()
    labels = inspected.targets(images, logits)
    if labels is None:
        found = "none" if images.labels is None else f"labels of {counted(len(images.classes), 'other class')}"
        raise DataError(
            expected=f"images with labels of the model's {counted(logits.shape[1], 'class')}",
            found=found,
            where="loss landscape",
            hint="The loss needs labels: inspect a classifier that was trained on these classes.",
        )
    return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(1) == labels


def reestimate_batch_norm(inspected: InspectedModel, images: InspectedImages) -> None:
    """Replace the stored batch-norm statistics by those of the images.

    Interpolated weights do not fit interpolated statistics: variances shrink between two networks (Jordan et al. 2022,
    arXiv:2211.08403), so a barrier may vanish when they are re-estimated.
    """

    def batches() -> Iterator[Tensor]:
        return images.batches(len(images) if len(images) <= _ONE_PASS else BATCH)

    recalibrate_batch_norm(inspected.network, batches)
