"""A file that is no image says what it is, where its bytes tell."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from headstart.data.foreign_files import kind_of
from headstart.data.images import BadImage, open_image


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>403 Forbidden</html>", "a web page (HTML)"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a text (XML)"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "a drawing (SVG)"),
        (b"%PDF-1.7", "a PDF"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypmp42" + bytes(20), "a video"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (struct.pack("<IiiHH", 40, 2, 2, 1, 24) + bytes(40), "a BMP without its file header"),
        (b"data:image/jpeg;base64,/9j/", "an image as text"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (bytes(3000), "all of its 3,000 bytes are zero"),
    ],
)
def test_a_file_that_is_no_image_says_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(BadImage) as bad:
        open_image(data)

    assert words in bad.value.reason
    assert "damaged" not in bad.value.reason


def _saved(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_saved(lambda file: torch.save({"a": torch.zeros(3)}, file)), "weights or tensors of PyTorch"),
        (
            _saved(lambda file: torch.save({"a": torch.zeros(3)}, file, _use_new_zipfile_serialization=False)),
            "weights or tensors of PyTorch",
        ),
        (safetensors.torch.save({"a": torch.zeros(3)}), "safetensors"),
        (_saved(lambda file: np.savez(file, a=np.zeros(3))), "arrays of NumPy"),
    ],
    ids=["pth", "old pth", "safetensors", "npz"],
)
def test_weights_and_arrays_are_no_zip_archives(data: bytes, words: str) -> None:
    with pytest.raises(BadImage) as bad:
        open_image(data)

    assert words in bad.value.reason
    assert "zip" not in bad.value.reason
    assert "unpack" not in bad.value.reason


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("packing", [None, "tga_rle"])
def test_a_tga_is_no_cursor_of_windows(mode: str, packing: str | None) -> None:
    """Both begin with a zero, and most with 0, 0, 2, 0."""
    picture = Image.new("RGB", (20, 10), "red").convert(mode)
    tga = _saved(lambda file: picture.save(file, "TGA", compression=packing))
    cursor = struct.pack("<HHH4B2HII", 0, 2, 1, 20, 10, 0, 0, 3, 3, 40, 22) + bytes(40)

    for data, words in ((tga, "a TGA"), (cursor, "a cursor of Windows")):
        with pytest.raises(BadImage, match=words):
            open_image(data)


@pytest.mark.parametrize(("format_", "words"), [("PNG", "a PNG begins only at byte 4"), ("JPEG", "a JPEG begins")])
def test_an_image_behind_other_bytes_is_seen(format_: str, words: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format_)

    with pytest.raises(BadImage, match=words):
        open_image(b"\r\n\r\n" + file.getvalue())


def test_what_cannot_be_told_is_not_guessed() -> None:
    assert kind_of(b"Dear reader, this is a letter.") is None
