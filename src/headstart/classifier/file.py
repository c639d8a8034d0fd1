"""The classifier file: one .safetensors with the tensors of backbone and head, and the card as metadata; no code."""

from __future__ import annotations

import json
import shlex
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from headstart.backbones.backbone import Backbone, Provenance, build_backbone
from headstart.backbones.catalogue import REGISTERED, find_spec
from headstart.backbones.file_kind import ONNX_KIND, refuse_kind
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.weight_files import negative_variances, not_finite
from headstart.classifier.card import Card
from headstart.classifier.familiarity import Familiarity
from headstart.classifier.trust_file import read_familiarity
from headstart.engines.bfloat16 import attach_bfloat16
from headstart.engines.int8 import attach, check_model
from headstart.errors import BackboneError, ClassifierError
from headstart.files import FOR_OUT, atomic_write, make_folder, os_error
from headstart.freezing import tensor_bytes
from headstart.heads.kernel_map import KernelMap
from headstart.refusals import refusal
from headstart.untrusted import Untrusted, parse_object

Matrix = NDArray[np.float64]

FILE_NAME = "classifier.safetensors"
"""In the folder of a run, which stands for its classifier."""

EXPORTED = "classifier.onnx"
"""What `export` writes, into a folder of its own."""

INT8 = "int8.onnx"
"""The tensor of bytes that is the quantised network of an int8 classifier."""
_LARGEST_NUMBER = 1e15  # of a head: no features of float32 that differ at all need a larger one
SCALE = "int8.scale."
"""Before the name of a weight that the quantised network has: what its integers are multiplied by."""
_KEY = "headstart"
_CHECKSUM = "headstart.checksum"
"""Metadata: the CRC-32 of the card and all tensors; files that headstart wrote before 0.2 have none."""
_NAMED = 8  # tensors listed in an error
_LARGEST = 2048  # px, of the option --size


def write_classifier(path: Path, tensors: dict[str, torch.Tensor], card: Card) -> Path:
    """Write tensors and card with their checksum; the file is read back, and appears whole or not at all.

    Raises:
        ClassifierError: the folder cannot be written, the disk is full, or what was written could not be opened: a
            number is not finite, a value of the card makes no sense, or the disk gives back other bytes.
    """
    expected = "to write the classifier"
    make_folder(path.parent, expected=expected, kind=ClassifierError)
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    text = card.to_json()
    with atomic_write(path, expected=expected, hint=FOR_OUT, kind=ClassifierError) as part:
        try:
            content = save(plain, {_KEY: text})
        except SafetensorError as error:
            raise ClassifierError(expected=expected, found=str(error), where=path, hint=FOR_OUT) from error
        with part.open("wb") as file:
            file.writelines(_with_metadata(content, {_KEY: text, _CHECKSUM: _checksum_of(text, plain)}))
        if part != path:  # a pipe cannot be read back
            written = _read(part, path)
            _head(written, path)
            _check_sum(written, path)
    return path


def _with_metadata(content: bytes, metadata: dict[str, str]) -> tuple[bytes, ...]:
    """The parts of a safetensors file with other metadata, in this order: safetensors writes two keys in any order, and
    the same classifier is to give the same bytes.
    """
    (length,) = struct.unpack("<Q", content[:8])
    header = {**parse_object(content[8 : 8 + length]), "__metadata__": metadata}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)), text, content[8 + length :]


@dataclass(frozen=True)
class HeadTensors:
    """What a file holds of the head: weight D×C, or M×C with a kernel, and bias C."""

    weight: Matrix
    bias: Matrix
    landmarks: NDArray[np.float32] | None = None
    kernel: KernelMap | None = None

    @property
    def width(self) -> int:
        """Features that it takes, D."""
        return len(self.weight) if self.landmarks is None else self.landmarks.shape[1]


def read_classifier(
    path: Path, module: nn.Module | None = None
) -> tuple[Backbone, Card, HeadTensors, Familiarity | None]:
    """Read and check a classifier file: backbone, card, the head's tensors, and what it is familiar with.

    Args:
        module: the network of a classifier that was made on a user's module; it gets the weights of the file.

    Raises:
        ClassifierError: the file is missing, no classifier, damaged, newer, its tensors do not fit its card, or the
            module is missing or another.
    """
    contents = _read(path)
    card, tensors = contents.card, contents.tensors
    head = _head(contents, path)
    state = {key.removeprefix("backbone."): value for key, value in tensors.items() if key.startswith("backbone.")}
    try:
        preprocess = Preprocess.from_dict(card.preprocess)  # as measured, whatever the spec says by now
        weights = Provenance(*(card.weights.get(key, "") for key in ("source", "sha256", "licence")))
        if module is None and _as_written(contents, preprocess):
            backbone = Backbone.stored(find_spec(card.backbone), state, weights, file=path)
        else:
            backbone = _backbone_of(card, module, path)
        if card.precision == "int8":
            backbone.preprocess = preprocess
            _load_int8(backbone, state, tensors, weights)
        elif not backbone.unbuilt:
            backbone.load_state(state, weights)
        backbone.preprocess = preprocess
        if card.precision == "bfloat16":
            attach_bfloat16(backbone)
        backbone.flip_tta = FlipTTA(backbone.widths, card.unit) if card.flip_tta else None
        widths = _widths(card.stages, backbone)
        familiarity = _familiarity(card, tensors, backbone)
        if backbone.preprocess.crop != backbone.spec.crop and card.precision != "int8":  # int8 was checked against it
            _check_size(backbone)
    except BackboneError as error:
        raise ClassifierError(
            expected=error.expected, found=error.found, where=path, hint=error.hint or "The file is damaged."
        ) from error
    except Untrusted as error:
        raise _damaged("familiarity that fits its card and its network", str(error), path) from error
    if sum(widths) != head.width:
        raise _damaged(f"a head for {sum(widths)} features", f"one for {head.width}", path)
    if head.landmarks is not None:
        head = replace(head, kernel=KernelMap(head.landmarks, float(card.gamma), widths))
    _check_sum(contents, path)  # last: what is wrong in itself is named
    return backbone, card, head, familiarity


def _widths(names: Sequence[str], backbone: Backbone) -> tuple[int, ...]:
    """Features of each stage of a head, which takes them in forward order."""
    stages = [backbone.spec.stage(name) for name in names]
    if other := [name for name, stage in zip(names, stages, strict=True) if stage.name != name]:
        raise BackboneError(expected="stages in the card under their own names", found=", ".join(map(repr, other)))
    if list(names) != (order := [stage.name for stage in backbone.spec.stages if stage.name in names]):
        raise BackboneError(expected=f"stages in the card in the order {', '.join(order)}", found=", ".join(names))
    return tuple(stage.width for stage in stages)


def _familiarity(card: Card, tensors: Mapping[str, torch.Tensor], backbone: Backbone) -> Familiarity | None:
    if not card.familiarity:
        return None
    width = backbone.spec.stage(card.familiarity["stage"]).width
    return read_familiarity(card.familiarity, tensors, width)


def _load_int8(
    backbone: Backbone, state: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], weights: Provenance
) -> None:  # the backbone, and what the file has for it
    stored = tensors.get(INT8)
    if stored is None or stored.dtype != torch.uint8:
        raise BackboneError(expected=f"the quantised network of an int8 classifier ({INT8})", found="none")
    model = stored.numpy().tobytes()
    scales = {name.removeprefix(SCALE): value for name, value in tensors.items() if name.startswith(SCALE)}
    check_model(model, backbone)
    if not backbone.unbuilt:
        own = backbone.state()
        backbone.load_state({**{name: own[name] for name in scales if name in own}, **state}, weights)
    attach(backbone, model, scales)


def _backbone_of(card: Card, module: nn.Module | None, path: Path) -> Backbone:
    """The card's backbone with any weights: built by its name, or on the module that the card describes."""
    if not card.module or (module is None and card.backbone in REGISTERED):
        if module is not None:
            raise ClassifierError(
                expected="no module, since headstart builds this network itself",
                found=type(module).__name__,
                where=path,
                hint=f"It is {card.backbone}: leave out module=.",
            )
        return build_backbone(find_spec(card.backbone), draws=False)
    if module is None:
        name, parameters = card.module["class"], card.module["parameters"] / 1e6
        raise ClassifierError(
            expected=f"the network of this classifier: {card.module['package']}.{name}, {parameters:.3g} M parameters",
            found="no module",
            where=path,
            hint=f"Pass module={name}(...) in Python, to Classifier.load or pull. Or register a function that makes it "
            f"as {card.backbone!r} with register_backbone.",
        )
    preprocess = Preprocess.from_dict(card.preprocess)
    return Backbone.from_module(module, preprocess=preprocess, stages=card.module_stages, name=card.backbone)


@dataclass(frozen=True)
class _Contents:
    card: Card
    tensors: dict[str, torch.Tensor]
    text: str
    checksum: str | None

    @cached_property
    def actual(self) -> str:
        """The checksum of what was read."""
        return _checksum_of(self.text, self.tensors)


def _as_written(contents: _Contents, preprocess: Preprocess) -> bool:
    """Whether the network was built when the file was written, from a row of the catalogue, for images of its size.

    It fits then, and need not be built to be checked.
    """
    card = contents.card
    if card.module or card.precision == "bfloat16":  # a user's network; or one that is folded at once
        return False
    spec = find_spec(card.backbone)
    return bool(spec.builder) and preprocess.crop == spec.crop and contents.checksum == contents.actual


def _read(path: Path, shown: Path | None = None) -> _Contents:
    """What is in a file, with finite numbers only; `shown`: the name that errors give it."""
    shown = shown or path
    path = _file(path, shown)
    try:
        kind = refuse_kind(path)
        if kind != "safetensors" and (kind or path.suffix != ".safetensors"):
            raise _another_kind(kind, shown)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            text, checksum = metadata.get(_KEY), metadata.get(_CHECKSUM)
            if text is None:
                raise ClassifierError(
                    expected="a classifier of headstart",
                    found="a safetensors file without headstart's card",
                    where=shown,
                    hint="A file of weights alone goes to `headstart train --weights FILE`.",
                )
            card = Card.from_json(text, shown)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        if refused := refusal(error):
            raise os_error(
                refused, shown, expected="a classifier file that can be read", kind=ClassifierError
            ) from error
        raise _damaged("a complete classifier file", str(error), shown) from error
    wrong = not_finite(tensors) or negative_variances(tensors)
    if wrong:
        found = f"NaN, infinity or a negative variance in {', '.join(wrong[:_NAMED])}" + (
            ", …" if wrong[_NAMED:] else ""
        )
        raise _damaged("finite numbers in all tensors", found, shown)
    return _Contents(card, tensors, text, checksum)


def _file(path: Path, shown: Path) -> Path:
    """The file that is meant: the folder of a run stands for its classifier."""
    if path.is_dir():
        if (path / FILE_NAME).is_file():
            return path / FILE_NAME
        raise ClassifierError(
            expected="a classifier file, or the folder of a run",
            found=f"a folder without {FILE_NAME}",
            where=shown,
            hint=_takes_onnx(path / EXPORTED)
            if (path / EXPORTED).is_file()
            else "The classifier comes first, then the images. Make one with: headstart train FOLDER",
        )
    if not path.exists():
        raise ClassifierError(
            expected="a classifier file",
            found="no such file",
            where=shown,
            hint="Make one with: headstart train FOLDER",
        )
    return path


def _check_sum(contents: _Contents, path: Path) -> None:
    if contents.checksum not in (None, contents.actual):
        raise _damaged("the tensors and the card that were written", "others: the checksum is wrong", path)


def _checksum_of(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """CRC-32 of the card's text and of the tensors by name, hex."""
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        total = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode(), total)
        total = zlib.crc32(tensor_bytes(tensor), total)
    return f"{total:08x}"


def _check_size(backbone: Backbone) -> None:
    """Run the network once on an image of the card's size, which is not that of its spec."""
    side = backbone.preprocess.crop
    try:
        if side > _LARGEST or not bool(torch.isfinite(backbone.plain_features(torch.zeros(1, 3, side, side))).all()):
            raise BackboneError(expected=f"images of at most {_LARGEST} px", found=f"{side} px")
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BackboneError(expected=f"a size of images that {backbone.spec.name} takes", found=f"{side} px") from error


def _takes_onnx(file: Path) -> str:
    """What to do with a file that `export` wrote, where a classifier is asked for."""
    return f"predict, check and serve take {shlex.quote(str(file))}; others the run that it was exported from."


def _another_kind(kind: str, path: Path) -> ClassifierError:
    weights = kind in ("torch checkpoint", "a pickle")
    return ClassifierError(
        expected="a complete classifier file of headstart (.safetensors)",
        found="a torch checkpoint: weights of a network, without classes and preprocessing"
        if weights
        else kind or "no known file",
        where=path,
        hint=f"Train a classifier with these weights: headstart train FOLDER --weights {shlex.quote(str(path))}"
        if weights
        else _takes_onnx(path)
        if kind == ONNX_KIND
        else "The classifier comes first, then the images. Make one with: headstart train FOLDER",
    )


def _head(contents: _Contents, path: Path) -> HeadTensors:
    card, tensors = contents.card, contents.tensors
    weight, bias = tensors.get("head.weight"), tensors.get("head.bias")
    count = len(card.classes)
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] != count or bias.shape != (count,):
        found = {key: tuple(value.shape) for key, value in tensors.items() if key.startswith("head.")}
        raise _damaged(f"a head for {count} classes", str(found), path)
    if not (weight.is_floating_point() and bias.is_floating_point()):
        raise _damaged("a head of floating-point numbers", f"{weight.dtype}, {bias.dtype}", path)
    largest = max(float(weight.abs().max()), float(bias.abs().max()))
    if largest > _LARGEST_NUMBER:
        raise _damaged(f"numbers of a head, up to {_LARGEST_NUMBER:g}", f"{largest:g}", path)
    marks = tensors.get("head.landmarks")
    if (marks is not None) != (card.gamma > 0):
        raise _damaged("landmarks where the card has a kernel, and only there", f"gamma {card.gamma:g}", path)
    if marks is None:
        return HeadTensors(weight.double().numpy(), bias.double().numpy())
    if marks.ndim != 2 or len(marks) != len(weight) or not marks.is_floating_point():
        raise _damaged(f"{len(weight)} landmarks", f"{marks.dtype} of shape {tuple(marks.shape)}", path)
    return HeadTensors(weight.double().numpy(), bias.double().numpy(), marks.float().numpy())


def _damaged(expected: str, found: str, path: Path) -> ClassifierError:
    return ClassifierError(
        expected=expected,
        found=found,
        where=path,
        hint="The file is damaged or cut off: copy it again, or retrain.",
    )
