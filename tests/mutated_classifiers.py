"""A seeded corpus of classifier files with changed cards, tensors and bytes, and what is right for each.

Right is: refused as our error with a reason that names the place, or the same answers. A file without a checksum, as
0.1 wrote it, may also be another classifier, but one with finite answers.
"""

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import FamiliarImages, fit_familiarity
from headstart.errors import ClassifierError
from headstart.evaluation.conformal import fit_conformal
from headstart.heads.head import Head

Rng = np.random.Generator

VALUES = {
    "nan": "NaN",
    "infinity": "-Infinity",
    "beyond-infinity": "1e999",
    "denormal": "1e-320",
    "huge": "1e308",
    "many-digits": "1" + "0" * 400,
    "too-many-digits": "1" + "0" * 5000,
    "negative": "-3",
    "zero": "0",
    "true": "true",
    "null": "null",
    "empty": '""',
    "list": "[]",
    "mixed-list": '[1, null, {"a": []}]',
    "object": '{"a": 1}',
    "deep": "[" * 5000 + "]" * 5000,
    "megabyte": '"' + "x" * 1_000_000 + '"',
    "surrogate": '"\\ud800"',
    "control": '"\\u0000\\u001b[31m"',
}
"""Name → JSON, strict or not, for a value of the card."""
NUMBERS = {"nan": np.nan, "infinity": np.inf, "denormal": 1e-40, "huge": 1e38, "negative": -1e30}
CARD, TENSORS, BYTES = "card", "tensors", "bytes"
_OF_TENSORS = (
    *NUMBERS,
    "wrong-type",
    "wrong-shape",
    "missing",
    "extra",
    "renamed",
    "long-name",
    "empty",
    "shorter-file",
)
_OF_BYTES = ("byte", "bit", "bytes", "cut", "zeros", "removed", "doubled", "header-length", "deep-header", "appended")
_FLOATS = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
_TYPES = {"F16": "I16", "F32": "I32", "F64": "I64", "I64": "F64", "U8": "I8"}  # of the same size


@dataclass(frozen=True)
class Mutation:
    """One file: of which classifier, what was changed where, and whether the checksum was left out."""

    number: int
    part: str
    kind: str
    place: str
    is_own: bool
    has_checksum: bool
    content: bytes

    @property
    def name(self) -> str:
        checksum = "" if self.has_checksum else "-without-checksum"
        return f"{self.number:04d}-{self.part}-{self.place}-{self.kind}{checksum}"


class Own(nn.Module):
    """A user's network, so that the card describes a module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


@functools.cache
def whole(is_own: bool, place: Path) -> bytes:
    """The file of a classifier on the embedded backbone, or on a user's network."""
    torch.manual_seed(0)
    backbone = Backbone.from_module(Own(), preprocess={"size": 40}) if is_own else load_backbone("embedded")
    stages = backbone.stages[-1:]
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(sum(backbone.spec.stage(name).width for name in stages), 3))
    head = Head("ridge", stages, weight, rng.normal(size=3), temperature=3.0)
    card = Card.of(backbone, head, ("ant", "bee", "wasp"), data={"images": 9}, metrics={"accuracy": 0.5})
    features = rng.normal(size=(20, len(weight))).astype(np.float32)
    known = FamiliarImages(features, np.arange(20) % 3, np.arange(20), [f"{i}.png" for i in range(20)])
    model = Classifier(
        backbone,
        head,
        card,
        familiarity=None if is_own else fit_familiarity(known, stage=stages[0], rate=0.5),
        conformal=None if is_own else fit_conformal(rng.dirichlet([1, 1, 1], 30), np.arange(30) % 3),
    )
    return model.save(place / f"whole-{is_own}.safetensors").read_bytes()


def mutations(count: int, seed: int, place: Path) -> Iterator[Mutation]:
    """So many files; the same seed gives the same. `place`: a folder for the whole files."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        is_own, part = bool(rng.integers(4)), (CARD, CARD, TENSORS, BYTES)[number % 4]
        has_checksum = bool(rng.integers(3) == 0) or part == BYTES
        file = _File.of(whole(is_own, place))
        if not has_checksum:
            del file.metadata["headstart.checksum"]
        at, kind = "", ""
        if part == CARD:
            at, kind = file.change_card(rng)
        elif part == TENSORS:
            at, kind = file.change_tensor(rng)
        content = file.to_bytes()
        if part == BYTES:
            kind = str(rng.choice(_OF_BYTES))
            content = _with_other_bytes(content, kind, rng)
        yield Mutation(number, part, kind, at, is_own, has_checksum, content)


@dataclass
class _File:
    """The parts of a safetensors file: type, shape and bytes of each tensor, and the metadata."""

    metadata: dict[str, str]
    tensors: dict[str, tuple[str, list[int], bytes]]

    @classmethod
    def of(cls, content: bytes) -> _File:
        (length,) = struct.unpack("<Q", content[:8])
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        metadata = header.pop("__metadata__")
        tensors = {
            name: (one["dtype"], one["shape"], data[slice(*one["data_offsets"])]) for name, one in header.items()
        }
        return cls(metadata, tensors)

    def to_bytes(self) -> bytes:
        header: dict[str, Any] = {"__metadata__": self.metadata}
        data = b""
        for name, (kind, shape, content) in self.tensors.items():
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
            data += content
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + data

    def change_card(self, rng: Rng) -> tuple[str, str]:
        """Change, remove or double one value of the card; where and how."""
        card = json.loads(self.metadata["headstart"])
        places = [(key,) for key in card]
        places += [(key, inner) for key in card if isinstance(card[key], dict) for inner in card[key]]
        place = places[int(rng.integers(len(places)))]
        kind = str(rng.choice([*VALUES, "missing", "added", "doubled"]))
        holder = card
        for key in place[:-1]:
            holder = holder[key]
        marked = '"@@@"'
        if kind == "missing":
            del holder[place[-1]]
        elif kind == "added":
            holder["unknown"] = {"a": [1, "x" * 1000]}
        else:
            holder[place[-1]] = "@@@"
        value = json.dumps(place[-1]) if kind == "doubled" else VALUES.get(kind, "")
        if kind == "doubled":
            value = f"1, {value}: 1"
        self.metadata["headstart"] = json.dumps(card).replace(marked, value)
        return ".".join(place), kind

    def change_tensor(self, rng: Rng) -> tuple[str, str]:
        """Change one tensor: a number of it, its type or shape, or its name; where and how."""
        kind = str(rng.choice(_OF_TENSORS))
        names = [name for name, (type_, _, _) in self.tensors.items() if type_ in _FLOATS or kind not in NUMBERS]
        name = names[int(rng.integers(len(names)))]
        type_, shape, content = self.tensors[name]
        if kind in NUMBERS:
            values = np.frombuffer(content, _FLOATS[type_]).copy()
            with np.errstate(over="ignore"):  # 1e300 is infinity in the half precision of a bank
                values[int(rng.integers(values.size))] = NUMBERS[kind]
            self.tensors[name] = (type_, shape, values.tobytes())
        elif kind == "wrong-type":
            self.tensors[name] = (_TYPES[type_], shape, content)
        elif kind == "wrong-shape":
            self.tensors[name] = (type_, [*shape, 1], content)
        elif kind == "empty":
            self.tensors[name] = (type_, [0], b"")
        elif kind == "shorter-file":
            self.tensors[name] = (type_, shape, content[:-1])
        else:
            if kind in ("missing", "renamed", "long-name"):
                del self.tensors[name]
            if kind != "missing":
                new = {"extra": "backbone.unknown", "renamed": f"{name}x"}.get(kind, "x" * 1_000_000)
                self.tensors[new] = (type_, shape, content)
        return name, kind


def _with_other_bytes(content: bytes, kind: str, rng: Rng) -> bytes:
    size, width = len(content), int(rng.choice([1, 16, 600]))
    # as often in the header as in the tensors behind it
    most = 8 + struct.unpack("<Q", content[:8])[0] if rng.integers(2) else size - width
    place = int(rng.integers(most))
    if kind == "cut":
        return content[:place]
    if kind == "zeros":
        return content[:place] + bytes(width) + content[place + width :]
    if kind == "removed":
        return content[:place] + content[place + width :]
    if kind == "doubled":
        return content[: place + width] + content[place:]
    if kind == "appended":
        return content + bytes(width)
    if kind == "header-length":
        return struct.pack("<Q", int(rng.choice([0, 1, 2**20, 2**40, 2**63]))) + content[8:]
    if kind == "deep-header":
        text = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
        return struct.pack("<Q", len(text)) + text + content[8:]
    changed = bytearray(content)
    if kind == "bit":
        changed[place] ^= 1 << int(rng.integers(8))
    for _ in range({"byte": 1, "bit": 0}.get(kind, int(rng.integers(2, 30)))):
        changed[int(rng.integers(most))] = int(rng.integers(256))
    return bytes(changed)


def outcome(mutation: Mutation, place: Path) -> str:
    """Open one file and ask it: `refused`, `the same answers`, `another classifier`, or what is wrong."""
    path = place / "mutated.safetensors"
    path.write_bytes(mutation.content)
    try:
        opened = _open(path, mutation.is_own)
        answers = _answers(opened)
        json.dumps(
            [opened.card.to_dict(), opened.card.to_json(), opened.predict(_images()[0]).to_dict()], allow_nan=False
        )
    except ClassifierError as error:
        return _judge(mutation, error)
    except Exception as error:
        return f"a foreign error: {error!r:.300}"
    if not all(np.isfinite(list(one.values())).all() for one in answers):
        return "an answer that is not finite"
    if opened.classes == ("ant", "bee", "wasp") and answers == _expected(mutation.is_own, place):
        return "the same answers"
    return "other answers" if mutation.has_checksum else "another classifier"


def _judge(mutation: Mutation, error: ClassifierError) -> str:
    text = f"{error.expected} {error.found} {error.hint}"
    if len(text) > 1500:
        return f"an endless error of {len(text)} characters: {text[:200]}"
    names = [part.rstrip("s") for part in mutation.place.split(".") if len(part) > 3]
    general = ("checksum", "JSON", "damaged", "complete classifier file", "card of at most")
    is_named = any(name.lower() in text.lower() for name in names) or any(word in text for word in general)
    return "refused" if is_named or mutation.part == BYTES else f"another reason: {text}"


def _open(path: Path, is_own: bool) -> Classifier:
    return Classifier.load(path, module=Own()) if is_own else Classifier.load(path)


@functools.cache
def _expected(is_own: bool, place: Path) -> list[dict[str, float]]:
    path = place / "expected.safetensors"
    path.write_bytes(whole(is_own, place))
    return _answers(_open(path, is_own))


@functools.cache
def _images() -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(5).integers(0, 256, (2, 48, 56, 3), np.uint8))


def _answers(classifier: Classifier) -> list[dict[str, float]]:
    return [dict(prediction.probabilities) for prediction in classifier.predict(_images())]
