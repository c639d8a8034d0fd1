"""The card of a classifier file: versioned plain values that say what the tensors are, checked before they are used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.errors import ClassifierError

FORMAT = "headstart-classifier"
VERSION = 2  # 1: an image is answered as it is; 2: perhaps with its mirror image, which older readers would not do
MAX_BYTES = 4_000_000  # 20,000 class names fit; a hostile file cannot fill the memory with its card

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
_FLAGS = {"unit": True, "flip_tta": False}  # what holds where a file does not say it, as those of the first days
_OLD_NAMES = {"flip_tta": "mirror"}  # of files written before 0.2


@dataclass(frozen=True)
class Card:
    """What a classifier file says of itself.

    Args:
        backbone: catalogue row or `timm:NAME`.
        stages: whose features the head takes.
        classes: names in the order of the head's columns.
        preprocess: the plain values of a Preprocess.
        background: RGB laid under transparent images.
        head: `ridge`, `logistic` or `trained`. temperature: of the softmax.
        unit: whether stages are scaled to unit length.
        flip_tta: whether answers are means over an image and its mirror image.
        weights: source, sha256 and licence of the pretrained weights.
        data: name, fingerprint and counts of the training images.
        metrics: what was measured on the test images, with intervals.
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
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    @property
    def version(self) -> int:
        """The oldest version that says all of it: a headstart that knows no mirror images must not open such a file."""
        return 2 if self.flip_tta else 1

    def to_json(self) -> str:
        """Strict JSON, format and version first."""
        values = {"format": FORMAT, "version": self.version, **self.__dict__}
        return json.dumps(values, allow_nan=False, default=dict)

    @classmethod
    def from_json(cls, text: str, where: object) -> Card:
        """Card from the text in a file's metadata.

        Raises:
            ClassifierError: the text is too long, no JSON, of a newer version, or a value is missing or wrong.
        """
        if len(text) > MAX_BYTES:
            raise _wrong(f"a card of at most {MAX_BYTES:,} characters", f"{len(text):,}", where)
        try:
            values = json.loads(text)
        except ValueError as error:
            raise _wrong("a card in JSON", str(error), where) from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise _wrong(f"a card of format {FORMAT}", "something else", where)
        _check_version(values.get("version"), where)
        for key, kind in _KINDS.items():
            if not isinstance(values.get(key), kind) or isinstance(values[key], bool):
                raise _wrong(f"{key} in the card", repr(values.get(key))[:80], where)
        _check_values(values, where)
        flags = {key: values.get(key, values.get(_OLD_NAMES.get(key), default)) for key, default in _FLAGS.items()}
        for key, flag in flags.items():
            if not isinstance(flag, bool):
                raise _wrong(f"{key} true or false in the card", repr(flag)[:80], where)
        plain: dict[str, Any] = {key: values[key] for key in cls.__dataclass_fields__ if key not in flags} | flags
        plain |= {key: tuple(plain[key]) for key in ("stages", "classes", "background")}
        return cls(**plain)


def _check_version(version: object, where: object) -> None:
    if isinstance(version, int) and version > VERSION:
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
    if len(background) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in background):
        raise _wrong("three values 0 to 255 as background", repr(background)[:80], where)
    if not math.isfinite(values["temperature"]) or values["temperature"] <= 0:
        raise _wrong("a temperature above 0", repr(values["temperature"]), where)
    if not all(isinstance(text, str) for text in values["weights"].values()):
        raise _wrong("plain text about the weights", repr(values["weights"])[:80], where)


def _wrong(expected: str, found: str, where: object) -> ClassifierError:
    return ClassifierError(
        expected=expected, found=found, where=where, hint="The file is damaged or was not written by headstart."
    )
