"""Features of a network with two outputs: the auxiliary head of inception serves training only.

Claim: in train mode the network returns its logits and those of an auxiliary head, in eval mode only the first; its
    features can be extracted all the same, and the auxiliary head does not affect them. Do not tell the two modes apart
    by unpacking: in eval mode a batch of exactly two images unpacks as well, into two images.
Source: Szegedy et al. 2014, arXiv:1409.4842, section 5 (auxiliary heads), and 2016, arXiv:1512.00567, section 4; the
    chapter on transfer learning, which uses no inception model for feature extraction.
Settings: the catalogue's inception_v3 with weights from seed 0, two random images of 299×299.
Expected: 2 outputs in train mode, 1 in eval mode; 2048 features per image, equal ± 1e-4 to the network's output
    without its last layer; difference 0 after the auxiliary head is re-initialised; `main, aux = network(two images)`
    in eval mode makes `main` the logits of one image: 1 dimension instead of 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import find_spec
from headstart.figures.panels import Bars, Panel
from headstart.figures.style import BLUE, MUTED, ORANGE
from headstart.inspection.inspection_result import Table
from headstart.lab.experiment import Experiment, Number, seeded

SOURCE = (
    "Szegedy et al. 2014, arXiv:1409.4842, section 5; 2016, arXiv:1512.00567, section 4; the chapter's inception model"
)


def run(*, backbone: str = "inception_v3", size: int = 299, seed: int = 0) -> Experiment:
    """Extract features from a network of the catalogue, and compare its outputs in both modes.

    Args:
        backbone: with a last layer called `fc`, such as inception_v3 or, with one output only, resnet18.

    Raises:
        BackboneError: there is no such backbone, or it cannot be built.
    """
    settings: dict[str, object] = dict(locals())
    built = build_backbone(find_spec(backbone), seed=seed)
    auxiliary = [built.network.get_submodule(name) for name in built.spec.head if name != "fc"]
    with seeded(seed), torch.no_grad():
        pixels = torch.randn(2, 3, size, size)
        logits = built.network.eval()(pixels)
        features = _pooled(built, pixels)
        for parameter in nn.ModuleList(auxiliary).parameters():
            nn.init.normal_(parameter)
        moved = (_pooled(built, pixels) - features).abs().max()
        plain = _without_last_layer(built.network, pixels)
        both = built.network.train()(pixels)  # last: it changes the running statistics
    unpacked, _ = logits  # the mistake: two images, not two outputs
    found = (
        Number("outputs in train mode", float(_outputs(both)), 2.0),
        Number("outputs in eval mode", float(_outputs(logits)), 1.0),
        Number("features per image", float(features.shape[1]), float(built.widths[-1])),
        Number("difference to the network without its last layer", float((plain - features).abs().max()), 0.0, 1e-4),
        Number("change of the features with another auxiliary head", float(moved), 0.0),
        Number("dimensions after unpacking an eval batch of two", float(unpacked.dim()), 1.0),
    )
    counts = _counts(built, auxiliary)
    rows = tuple(zip(built.stages, built.widths, strict=True))
    return Experiment(
        "auxiliary_heads",
        SOURCE,
        settings,
        numbers=found,
        tables=(Table("Features per image", ("stage", "features"), rows),),
        interpretation=_interpretation(counts),
        panels=_panels(counts, built),
    )


def _pooled(backbone: Backbone, pixels: Tensor) -> Tensor:
    return backbone.features(pixels)[:, backbone.slices[backbone.stages[-1]]]


def _without_last_layer(network: nn.Module, pixels: Tensor) -> Tensor:
    """Output of the network in eval mode with an identity in place of its last layer."""
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
    """Weights of the features, the last layer and the auxiliary head."""
    total = _weights(backbone.network)
    last, auxiliaries = _weights(backbone.network.get_submodule("fc")), sum(map(_weights, auxiliary))
    return {"features": total - last - auxiliaries, "last layer": last, "auxiliary head": auxiliaries}


def _weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _interpretation(counts: dict[str, int]) -> tuple[str, ...]:
    return (
        f"{counts['auxiliary head'] / 1e6:.1f} of {sum(counts.values()) / 1e6:.1f} million weights serve training "
        "only and are not run when features are extracted.",
    )


def _panels(counts: dict[str, int], backbone: Backbone) -> tuple[Panel, ...]:
    millions = tuple(count / 1e6 for count in counts.values())
    widths = tuple(float(width) for width in backbone.widths)
    return (
        Bars(
            "Where the weights are",
            tuple(counts),
            millions,
            x_label="million weights",
            form="{:.1f}",
            colors=(BLUE, MUTED, ORANGE),
        ),
        Bars("Features per image", backbone.stages, widths, x_label="features"),
    )
