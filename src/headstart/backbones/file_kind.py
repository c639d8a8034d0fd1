"""What a file is by its first bytes, in the words of the field, so that an error names it and does not call it broken.

Also the checksums that every zip, and so every file of `torch.save`, carries and `torch.load` does not look at.
"""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path

from headstart.refusals import refusal
from headstart.untrusted import Untrusted, check_regular
from headstart.wording import counted

_FIRST = 1024
_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file (.h5), as Keras writes it",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"%PDF": "a PDF document",
    b"\x93NUMPY": "a numpy array (.npy)",
    b"GGUF": "a GGUF file of a language model",
    b"\x08\x01\x12": "a TensorFlow SavedModel",  # its version 1, then a graph
}
_LONGEST_HEADER = 100_000_000  # bytes of a safetensors file's header, its own reader's bound
_TFLITE = b"TFL3"  # at byte 4
ONNX_KIND = "an ONNX model"
_ONNX_START = re.compile(rb"\x08[\x03-\x20](?:\x12.{0,64}|\x1a|\"|:|B)", re.DOTALL)
"""The version of its form, 3 in the first release, then its maker or the graph."""
_ONNX_MAKERS = (b"headstart", b"pytorch", b"onnx", b"tf2onnx", b"keras2onnx", b"skl2onnx")
_ONNX_WORDS = (*_ONNX_MAKERS, b"graph", b"input", b"Conv", b"Gemm")


def kind_of(path: Path) -> str:
    """What a regular file is: `safetensors`, `torch checkpoint`, else a noun phrase; empty where nothing is known.

    Raises:
        OSError: it cannot be read. Untrusted: it is no regular file.
    """
    check_regular(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_FIRST)
    if not head:
        return "an empty file"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(path)
    known = next((words for magic, words in _MAGIC.items() if head.startswith(magic)), "")
    if known or head[4:8] == _TFLITE:
        return known or "a TensorFlow Lite model"
    if len(head) > 8 and head[8:9] == b"{" and 2 <= (stated := struct.unpack("<Q", head[:8])[0]) <= _LONGEST_HEADER:
        return "safetensors" if stated <= size - 8 else "a safetensors file that is cut off"
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "a pickle"
    if _ONNX_START.match(head) and any(word in head for word in _ONNX_WORDS):
        return ONNX_KIND
    if head[257:262] == b"ustar":
        return "a tar archive"
    return _text_kind(head)


def zip_damage(path: Path) -> str:
    """Which entries of a zip differ from their checksums; empty where none does, or where the file is no zip.

    A file that was saved without checksums (`torch.serialization.set_crc32_options(False)`) counts as whole: there all
    of them differ.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return ""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.file_size]
            wrong = [entry.filename for entry in entries if not _is_whole(archive, entry)]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        _raise_refusal(error)
        return f"a damaged file: {error}"
    if not wrong or len(wrong) == len(entries):
        return ""
    return f"a damaged file: the checksum of {wrong[0]} is wrong" + (
        f", and {len(wrong) - 1} more" if wrong[1:] else ""
    )


def _is_whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(entry) as content:
            while content.read(1 << 20):
                pass
    except (zipfile.BadZipFile, EOFError, RuntimeError, OSError) as error:  # RuntimeError: said to be encrypted
        _raise_refusal(error)
        return False
    return True


def _raise_refusal(error: Exception) -> None:
    """Raise what the system refused, which zipfile calls a file that is no zip."""
    if refused := refusal(error):
        raise refused from None


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        _raise_refusal(error)
        return "a zip file that is damaged or cut off"
    inner = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "a TorchScript file, as torch.jit.save writes it"
    if "data.pkl" in inner:
        return "torch checkpoint"
    if any(name in inner for name in ("serialized_exported_program.json", "models/model.json")) or any(
        name.endswith("archive_format") for name in names
    ):
        return "a program of torch.export"
    if "model.weights.h5" in names:
        return "a Keras model (.keras)"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of numpy arrays (.npz)"
    if "word/document.xml" in names or "xl/workbook.xml" in names:
        return "an Office document"
    return f"a zip archive of {counted(len(names), 'file')} ({', '.join(names[:3])}{', …' if names[3:] else ''})"


def _text_kind(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: the file itself was not downloaded (git lfs pull)"
    if text[:64].lower().startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML): the address leads to a page, not to the file"
    if text.startswith(b"<?xml"):
        return "an XML text"
    if text.startswith((b"{", b"[")) and b"\0" not in head:
        return "a JSON text"
    if b"\0" not in head:
        try:
            head[: -3 if len(head) == _FIRST else None].decode("utf-8")
        except UnicodeDecodeError:
            return ""
        return "a text"
    return ""


def refuse_kind(path: Path) -> str:
    """The kind of a file, or the reason why it cannot be read at all.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return kind_of(path)
    except Untrusted as error:
        return str(error)
