"""Features from a network with two outputs: inception's auxiliary head is for training, and in nobody's way after it.

Claim: in train mode the network gives its logits and those of an auxiliary head, in eval mode the first alone; its
    features can be had all the same, and the auxiliary head has no say in them. To tell the two by unpacking is a
    trap: an eval batch of exactly two images unpacks as well, into two images.
Source: Szegedy et al. 2014, arXiv:1409.4842, section 5 (auxiliary heads), and 2016, arXiv:1512.00567, section 4; the
    chapter on transfer learning, which leaves its inception model out of feature extraction.
Settings: the catalogue's inception_v3 with weights from seed 0, two random images of 299×299.
Expected: 2 outputs in train mode, 1 in eval mode; 2048 features an image, equal ± 1e-4 to what the network gives when
    its last layer is taken away; difference 0 after the auxiliary head is drawn anew; `main, aux = network(two
    images)` in eval mode makes `main` a single row: 1 dimension where logits have 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import find_spec
from headstart.figures.panels import Bars, Panel
from headstart.figures.style import BLUE, MUTED, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.catalogue import CLAIMS
from headstart.lab.experiment import Experiment, Number, drawn_from

SOURCE = (
    "Szegedy et al. 2014, arXiv:1409.4842, section 5; 2016, arXiv:1512.00567, section 4; the chapter's inception model"
)


def run(*, backbone: str = "inception_v3", size: int = 299, seed: int = 0) -> Experiment:
    """Take features from a network of the catalogue, and look at its outputs in both modes.

    Args:
        backbone: a row whose last layer is called `fc`, such as inception_v3 or, with one output only, resnet18.

    Raises:
        BackboneError: there is no such row, or it cannot be built.
    """
    settings: dict[str, object] = dict(locals())
    built = build_backbone(find_spec(backbone), seed=seed)
    auxiliary = [built.network.get_submodule(name) for name in built.spec.head if name != "fc"]
    with drawn_from(seed), torch.no_grad():
        pixels = torch.randn(2, 3, size, size)
        logits = built.network.eval()(pixels)
        features = _pooled(built, pixels)
        for parameter in nn.ModuleList(auxiliary).parameters():
            nn.init.normal_(parameter)
        moved = (_pooled(built, pixels) - features).abs().max()
        plain = _without_last_layer(built.network, pixels)
        both = built.network.train()(pixels)  # last: it moves the running statistics
    unpacked, _ = logits  # the trap: two images, not two outputs
    found = (
        Number("outputs in train mode", float(_outputs(both)), 2.0),
        Number("outputs in eval mode", float(_outputs(logits)), 1.0),
        Number("features of an image", float(features.shape[1]), float(built.widths[-1])),
        Number("difference to the network without its last layer", float((plain - features).abs().max()), 0.0, 1e-4),
        Number("change of the features by another auxiliary head", float(moved), 0.0),
        Number("dimensions of what unpacking an eval batch of two gives", float(unpacked.dim()), 1.0),
    )
    counts = _counts(built, auxiliary)
    rows = tuple(zip(built.stages, built.widths, strict=True))
    return Experiment(
        "auxiliary_heads",
        CLAIMS["auxiliary_heads"],
        SOURCE,
        settings,
        found,
        (Table("Features of an image", ("stage", "numbers"), rows),),
        _reading(counts),
        _panels(counts, built),
    )


def _pooled(backbone: Backbone, pixels: Tensor) -> Tensor:
    return backbone.features(pixels)[:, backbone.slices[backbone.stages[-1]]]


def _without_last_layer(network: nn.Module, pixels: Tensor) -> Tensor:
    """What the network itself gives in eval mode with an identity in place of its last layer."""
    last = network.get_submodule("fc")
    network.add_module("fc", nn.Identity())
    try:
        features: Tensor = network.eval()(pixels)
    finally:
        network.add_module("fc", last)
    return features


def _outputs(value: object) -> int:
    return len(value) if isinstance(value, tuple) else 1


def _counts(backbone: Backbone, auxiliary: list[nn.Module]) -> dict[str, int]:
    """Part → number of its weights."""
    every = _weights(backbone.network)
    last, aside = _weights(backbone.network.get_submodule("fc")), sum(_weights(part) for part in auxiliary)
    return {"features": every - last - aside, "last layer": last, "auxiliary head": aside}


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _reading(counts: dict[str, int]) -> tuple[str, ...]:
    return (
        f"{counts['auxiliary head'] / 1e6:.1f} of {sum(counts.values()) / 1e6:.1f} million weights are for training "
        "and are not even run where features are taken.",
    )


def _panels(counts: dict[str, int], backbone: Backbone) -> tuple[Panel, ...]:
    millions = tuple(count / 1e6 for count in counts.values())
    widths = tuple(float(width) for width in backbone.widths)
    return (
        Bars("Where the weights are", tuple(counts), millions, "million weights", "{:.1f}", (BLUE, MUTED, ORANGE)),
        Bars("Features of an image", backbone.stages, widths, "numbers"),
    )
