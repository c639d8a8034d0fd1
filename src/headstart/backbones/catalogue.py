"""The catalogue: one spec per backbone, and the registry of backbones from outside. Importing it needs no torch.

A new backbone is one new spec; the tests that run over every spec then run over it too. `timm:NAME` makes a spec from
timm's own registry. ImageNet backbones use torchvision's first weights (V1), which the numbers in textbooks refer to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, update_wrapper
from typing import Any

from headstart.backbones.joined_spec import MARK, SIZE_MARK, base_name, joined_spec, part_spec
from headstart.backbones.lite_specs import LITE_SPECS
from headstart.backbones.own_specs import OWN_SPECS
from headstart.backbones.spec import BackboneSpec, Stage
from headstart.errors import BackboneError, near
from headstart.registry import Registry

__all__ = [
    "AUTO",
    "EFFORTS",
    "REGISTERED",
    "SPECS",
    "BackboneSpec",
    "RegisteredBackbone",
    "Stage",
    "find_spec",
    "rank_backbones",
]

_TORCHVISION = "https://download.pytorch.org/models/"
_BSD = "BSD-3-Clause (torchvision); trained on ImageNet, whose own terms may apply"
_APACHE = "Apache-2.0; trained on ImageNet, whose own terms may apply"
_CIFAR = "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/d5489e8995e81e91ce6b1d69dcc98ad579b0b153/"
_RESIDUAL = "He et al. 2016, Deep Residual Learning for Image Recognition, arXiv:1512.03385"


def _resnet(
    layers: int, file: str, *, megabytes: float, parameters: float, gmac: float, accuracy: float = 0.0
) -> BackboneSpec:
    wide = 4 if layers >= 50 else 1  # bottleneck blocks end four times as wide
    stages = tuple(Stage(f"stage{i + 1}", f"layer{i + 1}", 64 * 2**i * wide) for i in range(4))
    return BackboneSpec(
        name=f"resnet{layers}",
        title=f"ResNet-{layers}",
        builder=f"torchvision.models:resnet{layers}",
        head=("fc",),
        stages=(Stage("stem", "maxpool", 64), *stages),
        weights=f"ResNet{layers}_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + file,
        megabytes=megabytes,
        licence=_BSD,
        paper=_RESIDUAL,
        parameters=parameters,
        gmac=gmac,
        accuracy=accuracy,
    )


def _cifar(layers: int, file: str, *, megabytes: float, parameters: float, gmac: float) -> BackboneSpec:
    return BackboneSpec(
        name=f"cifar_resnet{layers}",
        title=f"CIFAR ResNet-{layers}",
        builder=f"headstart.backbones.models.cifar_resnet:cifar_resnet{layers}",
        head=("linear",),
        stages=(Stage("stem", "relu", 16), *(Stage(f"stage{i}", f"layer{i}", 8 * 2**i) for i in (1, 2, 3))),
        resize=32,
        crop=32,
        url=_CIFAR + "pretrained_models/" + file,
        megabytes=megabytes,
        licence="BSD-2-Clause (akamaster/pytorch_resnet_cifar10)",
        code_licence="MIT",
        origin="github.com/akamaster/pytorch_resnet_cifar10, trained on CIFAR-10",
        paper=_RESIDUAL + ", section 4.2",
        parameters=parameters,
        gmac=gmac,
        pretrained_classes="cifar10",
        note="for images of about 32 px",
    )


# one row of the table below: a keyword for each column
def _squeezenet(
    version: str,
    check: str,
    stages: tuple[Stage, ...],
    *,
    parameters: float,
    gmac: float,
    accuracy: float = 0.0,
) -> BackboneSpec:
    return BackboneSpec(
        name=f"squeezenet{version}",
        title=f"SqueezeNet {version.replace('_', '.')}",
        builder=f"torchvision.models:squeezenet{version}",
        head=("classifier",),
        stages=stages,
        weights=f"SqueezeNet{version}_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + f"squeezenet{version}-{check}.pth",
        megabytes=5.0,
        licence=_BSD,
        paper="Iandola et al. 2016, SqueezeNet, arXiv:1602.07360",
        parameters=parameters,
        gmac=gmac,
        accuracy=accuracy,
        note="no batch norm, no residual connections",
    )


def _mobilenet_v3(
    size: str, check: str, stages: tuple[Stage, ...], *, megabytes: float, parameters: float, gmac: float
) -> BackboneSpec:
    return BackboneSpec(
        name=f"mobilenet_v3_{size}",
        title=f"MobileNetV3 {size}",
        builder=f"torchvision.models:mobilenet_v3_{size}",
        head=("classifier.3",),
        stages=stages,
        weights=f"MobileNet_V3_{size.title()}_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + f"mobilenet_v3_{size}-{check}.pth",
        megabytes=megabytes,
        licence=_BSD,
        paper="Howard et al. 2019, Searching for MobileNetV3, arXiv:1905.02244",
        parameters=parameters,
        gmac=gmac,
    )


def _features(*stages: tuple[int, int], stem: tuple[int, int]) -> tuple[Stage, ...]:
    """Stages of a network whose body is one Sequential called `features`: (index, width) each, the stem first."""
    named = tuple(Stage(f"stage{i}", f"features.{index}", width) for i, (index, width) in enumerate(stages, 1))
    return (Stage("stem", f"features.{stem[0]}", stem[1]), *named)


def _mobilenet_v2(*stages: tuple[int, int], stem: tuple[int, int]) -> tuple[Stage, ...]:
    # MobileNetV2's blocks end in few channels without activation, so the last stage but one is inside a block. Measured
    # (width 0.35; ants and bees, rps28, rps_photos): 0.908, 0.933, 0.946 at the block's end; 0.922, 0.960, 0.968 inside
    inside = Stage(f"stage{len(stages) + 1}", "features.14.conv.1", 6 * stages[-1][1])
    # it is the block before it in more channels, so auto takes the last two: on five sets 0.763 by leave-one-out, with
    # three 0.755
    return (*_features(*stages, stem=stem), inside, Stage(f"stage{len(stages) + 2}", "features.18", 1280))


_SPECS = (
    BackboneSpec(
        name="alexnet",
        title="AlexNet",
        builder="torchvision.models:alexnet",
        head=("classifier.6",),
        stages=(
            *_features((5, 192), (7, 384), (9, 256), (12, 256), stem=(2, 64)),
            Stage("fc6", "classifier.2", 4096, "vector"),
            Stage("fc7", "classifier.5", 4096, "vector"),
        ),
        weights="AlexNet_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + "alexnet-owt-7be5be79.pth",
        megabytes=244.4,
        licence=_BSD,
        paper="Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks, arXiv:1404.5997",
        parameters=61.10084,
        gmac=0.714,
    ),
    # its accuracy: of compressed weights (65.8 % on ImageNet instead of 69.8), so at least this
    _resnet(18, "resnet18-f37072fd.pth", megabytes=46.8, parameters=11.689512, gmac=1.814, accuracy=0.798),
    _resnet(34, "resnet34-b627a593.pth", megabytes=87.3, parameters=21.797672, gmac=3.664),
    _resnet(50, "resnet50-0676ba61.pth", megabytes=102.5, parameters=25.557032, gmac=4.089),
    BackboneSpec(
        name="inception_v3",
        title="Inception v3",
        builder="torchvision.models:inception_v3",
        # the weights were made for inputs scaled to [-1, 1]; transform_input turns ImageNet's scale into that one
        options=(("transform_input", True), ("aux_logits", True), ("init_weights", False)),
        head=("fc", "AuxLogits"),
        stages=(
            Stage("stem", "maxpool1", 64),
            Stage("stage1", "maxpool2", 192),
            Stage("stage2", "Mixed_5d", 288),
            Stage("stage3", "Mixed_6e", 768),
            Stage("stage4", "Mixed_7c", 2048),
        ),
        resize=342,
        crop=299,
        weights="Inception_V3_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + "inception_v3_google-0cc3c7bd.pth",
        megabytes=109.0,
        licence=_APACHE,
        origin="Google (TensorFlow), converted by torchvision",
        paper="Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision, arXiv:1512.00567",
        parameters=27.161264,
        gmac=5.713,
        note="two outputs while training",
    ),
    _squeezenet(
        "1_0",
        "b66bff10",
        _features((5, 256), (8, 384), (10, 512), (12, 512), stem=(1, 96)),
        parameters=1.248424,
        gmac=0.819,
        accuracy=0.776,
    ),
    _squeezenet(
        "1_1",
        "b8a52dc0",
        _features((4, 128), (7, 256), (10, 384), (12, 512), stem=(1, 64)),
        parameters=1.235496,
        gmac=0.349,
    ),
    BackboneSpec(
        name="mobilenet_v2",
        title="MobileNetV2",
        builder="torchvision.models:mobilenet_v2",
        head=("classifier",),
        stages=_mobilenet_v2((1, 16), (3, 24), (6, 32), (13, 96), stem=(0, 32)),
        auto_stages=("stage5", "stage6"),
        weights="MobileNet_V2_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + "mobilenet_v2-b0353104.pth",
        megabytes=14.2,
        licence=_BSD,
        paper="Sandler et al. 2018, MobileNetV2, arXiv:1801.04381",
        parameters=3.504872,
        gmac=0.301,
    ),
    BackboneSpec(
        name="mobilenet_v2_035",
        title="MobileNetV2, width 0.35",
        builder="torchvision.models:MobileNetV2",
        options=(("width_mult", 0.35),),
        head=("classifier",),
        stages=_mobilenet_v2((1, 8), (3, 8), (6, 16), (13, 32), stem=(0, 16)),
        auto_stages=("stage5", "stage6"),
        # odd sizes (32k + 1): there torchvision's padding and Keras' fall on the same pixels
        resize=257,
        crop=225,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        licence="Apache-2.0 (Keras' weights, by common knowledge); trained on ImageNet, whose own terms may apply",
        origin="Keras, as exported by Google's Teachable Machine; no public file in this layout",
        paper="Sandler et al. 2018, MobileNetV2, arXiv:1801.04381",
        parameters=1.677128,
        gmac=0.067,
        accuracy=0.763,
        pretrained_classes="",
        note="weights from a file only (--weights)",
    ),
    _mobilenet_v3(
        "small",
        "047dcff4",
        (
            *_features((1, 16), (3, 24), (6, 40), (8, 48), (11, 96), (12, 576), stem=(0, 16)),
            Stage("stage7", "classifier.1", 1024, "vector"),
        ),
        megabytes=10.3,
        parameters=2.542856,
        gmac=0.057,
    ),
    _mobilenet_v3(
        "large",
        "8738ca79",
        (
            *_features((1, 16), (3, 24), (6, 40), (10, 80), (12, 112), (15, 160), (16, 960), stem=(0, 16)),
            Stage("stage8", "classifier.1", 1280, "vector"),
        ),
        megabytes=22.1,
        parameters=5.483032,
        gmac=0.217,
    ),
    BackboneSpec(
        name="efficientnet_b0",
        title="EfficientNet-B0",
        builder="torchvision.models:efficientnet_b0",
        head=("classifier",),
        stages=_features((1, 16), (2, 24), (3, 40), (4, 80), (5, 112), (6, 192), (7, 320), (8, 1280), stem=(0, 32)),
        interpolation="bicubic",
        weights="EfficientNet_B0_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + "efficientnet_b0_rwightman-7f5810bc.pth",
        megabytes=21.4,
        licence=_APACHE,
        origin="timm (Ross Wightman), converted by torchvision",
        paper="Tan and Le 2019, EfficientNet, arXiv:1905.11946",
        parameters=5.288548,
        gmac=0.386,
    ),
    BackboneSpec(
        name="convnext_tiny",
        title="ConvNeXt tiny",
        builder="torchvision.models:convnext_tiny",
        head=("classifier.2",),
        stages=(
            *_features((1, 96), (3, 192), (5, 384), stem=(0, 96)),
            Stage("stage4", "classifier.1", 768, "vector"),  # after the layer norm, as its own head sees it
        ),
        resize=236,
        weights="ConvNeXt_Tiny_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + "convnext_tiny-983f1562.pth",
        megabytes=114.4,
        licence=_BSD,
        paper="Liu et al. 2022, A ConvNet for the 2020s, arXiv:2201.03545",
        parameters=28.589128,
        gmac=4.456,
    ),
    BackboneSpec(
        name="vit_b_16",
        title="ViT-B/16",
        builder="torchvision.models:vit_b_16",
        head=("heads",),
        stages=(
            Stage("stage1", "encoder.layers.encoder_layer_2", 768, "tokens-class"),
            Stage("stage2", "encoder.layers.encoder_layer_5", 768, "tokens-class"),
            Stage("stage3", "encoder.layers.encoder_layer_8", 768, "tokens-class"),
            Stage("stage4", "encoder.ln", 768, "tokens-class"),  # after the layer norm, as its own head sees it
        ),
        weights="ViT_B_16_Weights.IMAGENET1K_V1",
        url=_TORCHVISION + "vit_b_16-c867db91.pth",
        megabytes=346.3,
        licence=_BSD,
        paper="Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, arXiv:2010.11929",
        parameters=86.567656,
        gmac=17.564,
    ),
    _cifar(20, "resnet20-12fca82f.th", megabytes=1.1, parameters=0.269722, gmac=0.041),
    _cifar(56, "resnet56-4bfd9763.th", megabytes=3.5, parameters=0.853018, gmac=0.125),
    *LITE_SPECS,
    *OWN_SPECS,
)

SPECS: dict[str, BackboneSpec] = {spec.name: spec for spec in _SPECS}


# 10⁹ multiply-adds for one image that each word allows: about 10 ms and 40 ms on one core of a laptop
EFFORTS: dict[str, float] = {"fast": 0.5, "balanced": 2.0, "accurate": float("inf")}
TOGETHER = {"efficientnet_lite2+efficientnet_lite0": 0.818, "resnet18+mobilenet_v2_035": 0.801}
"""Pairs of backbones side by side that were measured, and their accuracy as in a spec's."""

AUTO = "balanced"  # the probe on 1,000 images takes less than a minute on a laptop


def rank_backbones(effort: str) -> list[BackboneSpec]:
    """The backbones that `auto` may take, the most accurate on the development sets first.

    Args:
        effort: a key of `EFFORTS`, or auto. Each allows more work than the one before, and what is most accurate of
            the cheaper ones may be so of all.
    """
    limit = EFFORTS[AUTO if effort == "auto" else effort]
    measured = [spec for spec in SPECS.values() if spec.accuracy > 0 and spec.gmac <= limit]
    if effort == "accurate":  # two networks are twice the work of every prediction: only who asks for it gets them
        measured += [replace(find_spec(name), accuracy=accuracy) for name, accuracy in TOGETHER.items()]
    return sorted(measured, key=lambda spec: -spec.accuracy)


class RegisteredBackbone:
    """A backbone from outside: a function makes it, and its spec is measured when it is first needed.

    Args:
        make: returns a new Backbone. function: the registered one, whose name and origin this takes.
    """

    def __init__(self, make: Callable[[], Any], function: Callable[..., Any]) -> None:
        self.make = make
        update_wrapper(self, function)  # type: ignore[arg-type]  # its name and origin

    @cached_property
    def spec(self) -> BackboneSpec:
        """The spec of the backbone that the function makes."""
        spec: BackboneSpec = self.make().spec
        return spec


REGISTERED: Registry[RegisteredBackbone] = Registry("backbone", "backbones")
"""Backbones of `register_backbone` and of the entry points `headstart.backbones`."""


def find_spec(name: str) -> BackboneSpec:
    """The spec of a backbone; `timm:NAME` asks timm's registry, and `NAME+NAME` puts two or more side by side.

    Raises:
        BackboneError: a name is unknown (the near ones are in the hint), timm is not installed, or what an entry
            point names is not registered.
    """
    if name in SPECS:
        return SPECS[name]
    if MARK in name:
        return joined_spec([part_spec(part, find_spec) for part in name.split(MARK)])
    if name.startswith("timm:"):
        from headstart.backbones.timm_specs import timm_spec  # needs torch

        return timm_spec(name.removeprefix("timm:"))
    if name not in REGISTERED:
        hint = near(name, [*SPECS, *REGISTERED]) + " Networks of timm are called timm:NAME."
        if SIZE_MARK in name:
            hint = f"One network at another size: --backbone {base_name(name)} --size {name.partition(SIZE_MARK)[2]}."
        raise BackboneError(expected="a backbone of the catalogue", found=repr(name), where="--backbone", hint=hint)
    registered: object = REGISTERED[name]
    if not isinstance(registered, RegisteredBackbone):
        raise BackboneError(
            expected=f"a function decorated with register_backbone({name!r})",
            found=f"{getattr(registered, '__name__', type(registered).__name__)}, not registered under this name",
            where=f"entry point {name}",
            hint=f"Give the entry point the name of its register_backbone; update or remove {REGISTERED.owner(name)}.",
        )
    return registered.spec
