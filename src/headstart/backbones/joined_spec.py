"""The spec of networks side by side, `efficientnet_lite2+efficientnet_lite0`: the features of each, as one backbone.

Different networks make different mistakes, so a head on both is better than one on either. They share one image: its
size is that of the first network, and each of the others gets the pixels in its own mean and deviation. `NAME@SIDE` is
a network that sees the image at a side of its own, so that one network may see it at two sizes. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from headstart.backbones.spec import BackboneSpec
from headstart.errors import BackboneError

MARK = "+"
SIZE_MARK = "@"
_SIDES = (32, 2048)  # px; smaller ones leave most networks with an empty map


def names_at(name: str, sides: Sequence[int]) -> str:
    """The name of a backbone that sees each image at several sizes, the largest first: `a@288+a@224`."""
    return MARK.join(f"{part}{SIZE_MARK}{side}" for side in sorted(sides, reverse=True) for part in name.split(MARK))


def base_name(name: str) -> str:
    """The name of one of several networks side by side without its side."""
    return name.partition(SIZE_MARK)[0]


def base_names(parts: Sequence[str]) -> list[str]:
    """The different networks among several side by side: weights are loaded once for each."""
    return list(dict.fromkeys(base_name(part) for part in parts))


def own_side(name: str) -> int | None:
    """The side, px, at which one of several networks side by side sees the image; None: that of the first."""
    _, mark, side = name.rpartition(SIZE_MARK)
    return int(side) if mark else None


def part_spec(name: str, find: Callable[[str], BackboneSpec]) -> BackboneSpec:
    """The spec of one of several networks side by side, `NAME` or `NAME@SIDE`.

    Args:
        find: the spec of a name without a side.

    Raises:
        BackboneError: the name is unknown, or the side is no number within bounds.
    """
    base, mark, text = name.partition(SIZE_MARK)
    spec = find(base)
    if not mark:
        return spec
    side = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
    if not _SIDES[0] <= side <= _SIDES[1]:
        raise BackboneError(
            expected=f"a side from {_SIDES[0]} to {_SIDES[1]} px after @", found=repr(text), where="--backbone"
        )
    scale = side / spec.crop
    return replace(
        spec,
        name=name,
        title=f"{spec.title} at {side} px",
        resize=round(spec.resize * scale),
        crop=side,
        gmac=spec.gmac * scale**2,
        accuracy=0.0,
    )


def joined_spec(parts: Sequence[BackboneSpec]) -> BackboneSpec:
    """The spec of several backbones side by side, in the given order; stages are called `<backbone>.<stage>`.

    Raises:
        BackboneError: one is named twice, or is a module that headstart cannot build, or sees the image larger than
            the first does.
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
        megabytes=sum({base_name(spec.name): spec.megabytes for spec in parts}.values()),
        packaged="",
        wheel=None,
        licence=_of_each(parts, lambda spec: f"{base_name(spec.name)}: {spec.licence}", "; "),
        code_licence=_of_each(parts, lambda spec: spec.code_licence, "; "),
        origin=_of_each(parts, lambda spec: spec.origin, "; "),
        paper=_of_each(parts, lambda spec: spec.paper, "; "),
        parameters=sum(spec.parameters for spec in parts),
        gmac=sum(spec.gmac * ((own_side(spec.name) or first.crop) / spec.crop) ** 2 for spec in parts),
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

    side = own_side(names[0]) or parts[0].crop
    if larger := [name for name in names if (own_side(name) or 0) > side]:
        raise BackboneError(
            expected="the largest size first, to which the image is resized",
            found=f"{larger[0]} after {names[0]}, which is at {side} px",
            where="--backbone",
            hint=f"Write {larger[0]} first.",
        )


def _of_each(parts: Sequence[BackboneSpec], word: Callable[[BackboneSpec], str], mark: str) -> str:
    return mark.join(dict.fromkeys(word(spec) for spec in parts))
