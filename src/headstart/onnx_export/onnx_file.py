"""OnnxFile: an ONNX file that headstart wrote, read with bounds and checked before it is used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx

from headstart.classifier.card import Card
from headstart.errors import ClassifierError
from headstart.onnx_export.classifier_onnx import CARD, FACTS
from headstart.runtime_onnx import SEAL, checksum
from headstart.untrusted import Untrusted, parse_object, read_bytes

_MOST_BYTES = 2**31  # what one protobuf message holds


@dataclass(frozen=True)
class OnnxFile:
    """The model in a file, the card of its classifier, and the fingerprint of all that its answers depend on."""

    proto: onnx.ModelProto
    card: Card
    fingerprint: str


def read_onnx(path: Path) -> OnnxFile:
    """Read a file that `headstart export` wrote.

    Raises:
        ClassifierError: it is missing, damaged, too large, or not such a file.
    """
    try:
        content = read_bytes(path, _MOST_BYTES)
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        facts = {one.key: one.value for one in model.metadata_props}
        if (seal := facts.get(SEAL)) and checksum(content, seal) != seal:
            raise Untrusted("it is damaged, or was altered since it was written")
        fingerprint = str(parse_object(facts[FACTS])["fingerprint"])
        return OnnxFile(model, Card.from_json(facts[CARD], path), fingerprint)
    except KeyError as error:
        raise _wrong(path, f"an ONNX file without {error}") from error
    except FileNotFoundError as error:
        raise _wrong(path, "no such file") from error
    except (OSError, Untrusted, ClassifierError) as error:
        raise _wrong(path, str(error)) from error
    except Exception as error:  # protobuf and the checker have kinds of their own
        raise _wrong(path, f"no ONNX model, or a damaged one ({type(error).__name__})") from error


def sealed(model: onnx.ModelProto) -> bytes:
    """A model's bytes, with their own SHA-256 in the metadata; the model itself stays as it is."""
    place = hashlib.sha256(model.SerializeToString()).hexdigest()  # 64 digits that stand nowhere else in it
    entry = model.metadata_props.add()
    entry.key, entry.value = SEAL, place
    content: bytes = model.SerializeToString()
    model.metadata_props.remove(entry)
    return content.replace(place.encode(), checksum(content, place).encode())


def _wrong(path: Path, found: str) -> ClassifierError:
    return ClassifierError(
        expected="an ONNX file of headstart", found=found, where=path, hint="Make one with: headstart export RUN"
    )
