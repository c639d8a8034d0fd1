"""Card: versioned plain values in a classifier file that describe its tensors, checked before they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.backbones.backbone import Backbone
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.spec import POOLS, Stage
from headstart.classifier.trust_file import check_trust
from headstart.errors import BackboneError, ClassifierError, DataError
from headstart.evaluation.sense import check_numbers
from headstart.heads.head import Head
from headstart.plain import Plain
from headstart.recipe import PRECISIONS
from headstart.untrusted import Untrusted, parse_json

FORMAT = "headstart-classifier"
# 1: plain; 2: perhaps with flip TTA; 3: perhaps a backbone that is a user's module; 4: perhaps another bit depth;
# 5: perhaps a kernel, or another precision than float32; 6: perhaps familiarity or prediction sets; older readers know
# less
VERSION = 6
MAX_BYTES = 4_000_000  # 20,000 class names fit; a hostile file cannot fill the memory with its card
MOST_NAMES = MAX_BYTES // 7  # bytes of all class names in JSON: a card holds them up to six times, for each split too
WIDEST = 1e12  # gamma: 1.6 over the median squared distance of features that float32 can tell apart
COLDEST, HOTTEST = 1e-9, 1e9  # temperatures: what a fit can give for any head that float32 features can have

_KINDS: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "version": int,
    "backbone": str,
    "stages": list,
    "classes": list,
    "preprocess": dict,
    "background": list,
    "head": str,
    "temperature": (int, float),
    "weights": dict,
    "data": dict,
    "metrics": dict,
    "versions": dict,
    "created": str,
}
_FLAGS = {"unit": True, "flip_tta": False}  # the value where a file does not state it, as the first ones did not
LATER: dict[str, Any] = {
    "module": {}, "bit_depth": 16, "gamma": 0.0, "precision": "float32", "familiarity": {}, "conformal": {}
}  # fmt: skip
"""Entries that only files which need them have → the value where they are absent."""
_OLD_KEYS = {"mirror": "flip_tta"}  # of files written before 0.2
_STAGE = ("name", "module", "width", "pool", "side")
_MODULE = {"class": str, "package": str, "parameters": int, "stages": list, "head": list}


@dataclass(frozen=True)
class Card(Plain):
    """The description of a classifier in its file.

    Args:
        backbone: name in the catalogue, `timm:NAME`, a registered name, or that of a user's module.
        stages: whose features the head takes.
        classes: names in the order of the head's columns.
        preprocess: the plain values of a Preprocess.
        background: RGB laid under transparent images.
        head: solver of the head, such as `ridge`; `trained` by gradient descent. temperature: of the softmax.
        unit: whether stages are scaled to unit length.
        flip_tta: whether scores are averaged over an image and its horizontal flip.
        gamma: of the kernel, whose landmarks are a tensor; 0: the head is linear.
        bit_depth: of the values in 16-bit files; 2^bit_depth − 1 is white.
        weights: source, sha256 and licence of the pretrained weights.
        precision: of the network that computes the features: float32, bfloat16 or int8.
        module: of a user's module: its class, package, number of parameters, stages, and the modules of its own head.
        familiarity: how unfamiliar images are recognised; its rows are tensors.
        conformal: thresholds of prediction sets.
        data: name, fingerprint and counts of the training images.
        metrics: measured on the test images, with intervals.
        versions: of headstart and the packages it ran on. created: ISO 8601, UTC.
    """

    backbone: str
    stages: tuple[str, ...]
    classes: tuple[str, ...]
    preprocess: Mapping[str, Any]
    background: tuple[int, int, int]
    head: str
    temperature: float
    weights: Mapping[str, str]
    unit: bool = True
    flip_tta: bool = False
    gamma: float = 0.0
    bit_depth: int = 16
    precision: str = "float32"
    module: Mapping[str, Any] = field(default_factory=dict)
    familiarity: Mapping[str, Any] = field(default_factory=dict)
    conformal: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    @classmethod
    def of(cls, backbone: Backbone, head: Head, classes: Sequence[str], **facts: Any) -> Card:
        """The card of a backbone, a head and class names.

        Args:
            facts: `background` (white unless stated), `bit_depth` (16), `data`, `metrics`, `versions`, `created`.
        """
        return cls(
            backbone=backbone.spec.name,
            stages=head.stages,
            classes=tuple(map(str, classes)),
            preprocess=backbone.preprocess.to_dict(),
            head=head.kind,
            temperature=head.temperature,
            weights=backbone.weights.to_dict(),
            unit=head.unit,
            flip_tta=head.flip_tta,
            gamma=0.0 if head.kernel is None else head.kernel.gamma,
            precision="float32" if backbone.low_precision is None else backbone.low_precision.name,
            module={} if backbone.spec.builder else _module_of(backbone),
            **{"background": (255, 255, 255), **facts},
        )

    @property
    def version(self) -> int:
        """The oldest version that knows all of it: older readers must not open the file, for they would misread it."""
        if self.familiarity or self.conformal:
            return 6
        if self.gamma or self.precision != "float32":
            return 5
        return 4 if self.bit_depth != 16 else 3 if self.module else 2 if self.flip_tta else 1

    @property
    def module_stages(self) -> tuple[Stage, ...]:
        """The stages of a user's module; empty for a backbone of the catalogue."""
        return tuple(Stage(**stage) for stage in self.module.get("stages", ()))

    def to_json(self) -> str:
        """Strict JSON, format and version first."""
        values = {"format": FORMAT, "version": self.version, **self.to_dict()}
        for key, usual in LATER.items():
            if values[key] == usual:
                del values[key]
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: object) -> Card:
        """Card from the text in a file's metadata.

        Raises:
            ClassifierError: the text is too long, no JSON, of a newer version, or a value is missing or wrong.
        """
        if len(text) > MAX_BYTES:
            raise _wrong(f"a card of at most {MAX_BYTES:,} characters", f"{len(text):,}", where)
        try:
            values = parse_json(text)
        except Untrusted as error:
            raise _wrong("a card in JSON", str(error), where) from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise _wrong(f"a card of format {FORMAT}", "something else", where)
        _check_version(values.get("version"), where)
        for key, kind in _KINDS.items():
            if not isinstance(values.get(key), kind) or isinstance(values[key], bool):
                raise _wrong(f"{key} in the card", repr(values.get(key))[:80], where)
        _check_values(values, where)
        known = {**_FLAGS, **LATER, **values}
        known |= {new: values[old] for old, new in _OLD_KEYS.items() if old in values and new not in values}
        for key in _FLAGS:
            if not isinstance(known[key], bool):
                raise _wrong(f"{key} true or false in the card", repr(known[key])[:80], where)
        if type(known["bit_depth"]) is not int or not 8 <= known["bit_depth"] <= 16:
            raise _wrong("a bit depth from 8 to 16 in the card", repr(known["bit_depth"])[:80], where)
        if type(known["gamma"]) not in (int, float) or not 0 <= known["gamma"] <= WIDEST:  # nan too
            raise _wrong(f"a gamma of the kernel from 0 to {WIDEST:g} in the card", repr(known["gamma"])[:80], where)
        if known["precision"] not in PRECISIONS:
            found = repr(known["precision"])[:80]
            raise _wrong(f"a precision in the card: {', '.join(PRECISIONS)}", found, where)
        _check_module(known["module"], where)
        _check_measured(known, where)
        fields = {key: known.get(key, {}) for key in cls.__dataclass_fields__}
        fields |= {key: tuple(fields[key]) for key in ("stages", "classes", "background")}
        return cls(**fields)


def check_class_names(classes: Sequence[str]) -> None:
    """Check that the names of the classes fit into a card, before anything is trained.

    Raises:
        DataError: they are too long.
    """
    taken = len(json.dumps(list(classes)))
    if taken > MOST_NAMES:
        raise DataError(
            expected=f"class names of at most {MOST_NAMES:,} characters in all",
            found=f"{taken:,}, of {len(classes):,} classes",
            hint="Give them shorter names.",
        )


def _module_of(backbone: Backbone) -> dict[str, object]:
    package, _, name = backbone.spec.origin.rpartition(".")
    return {
        "class": name,
        "package": package,
        "parameters": round(backbone.spec.parameters * 1e6),
        "stages": [{key: getattr(stage, key) for key in _STAGE} for stage in backbone.spec.stages],
        "head": list(backbone.spec.head),
    }


def _check_version(version: object, where: object) -> None:
    if type(version) is not int or version < 1:
        raise _wrong("a version in the card", repr(version)[:80], where)
    if version > VERSION:
        raise ClassifierError(
            expected=f"a classifier file of version {VERSION} or older",
            found=f"version {version}",
            where=where,
            hint="Install a newer headstart: pip install --upgrade headstart",
        )


def _check_values(values: Mapping[str, Any], where: object) -> None:
    classes, stages, background = values["classes"], values["stages"], values["background"]
    if len(classes) < 2 or len(set(map(str, classes))) < len(classes) or not all(isinstance(c, str) for c in classes):
        raise _wrong("at least two different class names", repr(classes)[:80], where)
    if not stages or not all(isinstance(stage, str) for stage in stages):
        raise _wrong("names of stages", repr(stages)[:80], where)
    if len(background) != 3 or not all(type(value) is int and 0 <= value <= 255 for value in background):
        raise _wrong("three values 0 to 255 as background", repr(background)[:80], where)
    if not COLDEST <= values["temperature"] <= HOTTEST:  # nan too
        raise _wrong(f"a temperature above 0, from {COLDEST:g} to {HOTTEST:g}", repr(values["temperature"])[:80], where)
    if not values["head"] or not all(name.strip() for name in classes):
        raise _wrong("a name of the head and of each class", "an empty one", where)
    if len(set(stages)) < len(stages):
        raise _wrong("different stages", repr(stages)[:80], where)
    try:
        Preprocess.from_dict(values["preprocess"])
    except (BackboneError, TypeError) as error:
        found = error.found if isinstance(error, BackboneError) else str(error)
        expected = error.expected if isinstance(error, BackboneError) else "plain values"
        raise _wrong(f"{expected} as preprocessing in the card", found[:80], where) from error
    for about in ("weights", "versions"):
        if not all(isinstance(text, str) for text in values[about].values()):
            raise _wrong(f"plain text about the {about}", repr(values[about])[:80], where)


def _check_measured(values: Mapping[str, Any], where: object) -> None:
    try:
        check_trust(values["familiarity"], values["conformal"], len(values["classes"]))
    except Untrusted as error:
        raise _wrong("familiarity and prediction sets that make sense in the card", str(error), where) from error
    named = values["data"].get("classes", values["classes"])
    if named != values["classes"]:
        raise _wrong("the classes of the training images in the card", repr(named)[:80], where)
    for about in ("data", "metrics"):
        try:
            check_numbers(values[about])
        except Untrusted as error:
            raise _wrong(f"{about} that make sense in the card", str(error), where) from error


def _check_module(module: object, where: object) -> None:
    if module == {}:
        return
    if not isinstance(module, dict) or not all(isinstance(module.get(key), kind) for key, kind in _MODULE.items()):
        raise _wrong(f"{', '.join(_MODULE)} of the module in the card", repr(module)[:80], where)
    for stage in module["stages"]:
        if not isinstance(stage, dict) or not _is_stage(stage):
            raise _wrong("stages of the module in the card", repr(stage)[:80], where)


def _is_stage(values: Mapping[str, Any]) -> bool:
    kinds = {"name": str, "module": str, "width": int, "pool": str, "side": str}
    return (
        values.keys() == kinds.keys()
        and all(isinstance(values[key], kind) for key, kind in kinds.items())
        and values["pool"] in POOLS
        and values["side"] in ("input", "output")
    )


def _wrong(expected: str, found: str, where: object) -> ClassifierError:
    return ClassifierError(
        expected=expected, found=found, where=where, hint="The file is damaged or was not written by headstart."
    )
