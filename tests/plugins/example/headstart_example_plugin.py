"""One extension of headstart of each kind: backbone, head, audit check, analysis, doctor rule, engine."""

import numpy as np
import torch
from torch import nn

import headstart as hs


@hs.register_backbone("example-net", preprocess={"size": 32}, licence="MIT")
def example_net():
    """A small untrained network."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def nearest_mean(features, labels, groups):
    """A head that scores the distance to the mean of each class."""
    means = np.stack([features[labels == c].mean(axis=0) for c in range(labels.max() + 1)])
    return 2 * means.T, -(means**2).sum(axis=1)


def dark_images(images):
    """An audit check that counts dark images."""
    dark = np.flatnonzero(images.brightness < 100)
    return [images.finding("example-check", f"{len(dark)} of {len(images)} images are dark.", images=dark)]


def flip_sensitivity(model, images):
    """How much a horizontal flip changes the features."""
    backbone = getattr(model, "backbone", model)  # of a classifier
    with torch.no_grad():
        before, after = (backbone.features(pixels) for pixels in (images.pixels, images.pixels.flip(-1)))
    cosine = torch.cosine_similarity(before, after).mean()
    return hs.SimpleResult("Flip sensitivity", f"The mean cosine is {cosine:.3f}.")


@hs.register_rule(
    "example rule", "advice", why="A narrow layer loses information.", source="this example", fix="Widen it."
)
def few_channels(examination):
    """A doctor rule that finds convolutions with few channels."""
    for path, module in examination.modules.items():
        if isinstance(module, nn.Conv2d) and module.out_channels < 20:
            yield hs.Issue((path,), f"{module.out_channels} channels")


def one_by_one(backbone):
    """An engine that passes images through the network one at a time."""
    return lambda pixels: torch.cat([backbone.plain_features(one[None]) for one in pixels])
