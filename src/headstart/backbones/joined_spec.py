"""The spec of networks side by side, `efficientnet_lite2+efficientnet_lite0`: the features of each, as one backbone.

Different networks make different mistakes, so a head on both is better than one on either. They share one image: its
size is that of the first network, and each of the others gets the pixels in its own mean and deviation. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from headstart.backbones.spec import BackboneSpec
from headstart.errors import BackboneError

MARK = "+"


def joined_spec(parts: Sequence[BackboneSpec]) -> BackboneSpec:
    """The spec of several backbones side by side, in the given order; stages are called `<backbone>.<stage>`.

    Raises:
        BackboneError: one is named twice, or is a module that headstart cannot build.
    """
    _check(parts)
    first, names = parts[0], [spec.name for spec in parts]
    stages = [
        replace(stage, name=f"{spec.name}.{stage.name}", module=f"networks.{i}.{stage.module}", network=spec.name)
        for i, spec in enumerate(parts)
        for stage in spec.stages
    ]
    return replace(
        first,
        name=MARK.join(names),
        title=_of_each(parts, lambda spec: spec.title, " + "),
        builder="headstart.backbones.models.joined_network:JoinedNetwork",
        options=(),
        head=(),
        stages=tuple(stages),
        auto_stages=tuple(f"{spec.name}.{name}" for spec in parts for name in spec.choose_stages("auto")),
        weights="",
        url="",
        megabytes=sum(spec.megabytes for spec in parts),
        packaged="",
        wheel=None,
        licence=_of_each(parts, lambda spec: f"{spec.name}: {spec.licence}", "; "),
        code_licence=_of_each(parts, lambda spec: spec.code_licence, "; "),
        origin=_of_each(parts, lambda spec: spec.origin, "; "),
        paper=_of_each(parts, lambda spec: spec.paper, "; "),
        parameters=sum(spec.parameters for spec in parts),
        gmac=sum(spec.gmac * (first.crop / spec.crop) ** 2 for spec in parts),
        accuracy=0.0,
        parts=tuple(names),
        image_statistics=None,
        pretrained_classes="",
        note="",
    )


def _check(parts: Sequence[BackboneSpec]) -> None:
    names = [spec.name for spec in parts]
    for spec in parts:
        if not spec.builder or not spec.pretrained or names.count(spec.name) > 1:
            found = f"{spec.name} twice" if names.count(spec.name) > 1 else f"{spec.name}"
            raise BackboneError(
                expected="different pretrained backbones of the catalogue or of timm",
                found=found,
                where="--backbone",
                hint="Join other networks in a module of your own: Backbone.from_module.",
            )


def _of_each(parts: Sequence[BackboneSpec], word: Callable[[BackboneSpec], str], mark: str) -> str:
    return mark.join(dict.fromkeys(word(spec) for spec in parts))
