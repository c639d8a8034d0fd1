"""Refusals of the system behind what other packages raise: real ones, where this system has a file that refuses."""

from __future__ import annotations

import errno
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from PIL import Image
from safetensors import SafetensorError, safe_open

from headstart.errors import DataError
from headstart.refusals import refusal

UNREADABLE = Path("/proc/self/mem")  # opens as a regular file; its first byte gives EIO, its map ENODEV


class Broken(io.BytesIO):
    """A file whose bytes the disk does not give."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.skipif(not UNREADABLE.exists(), reason="a file of Linux")
@pytest.mark.parametrize(
    ("read", "code"),
    [
        (lambda file: file.read(1), errno.EIO),
        (Image.open, errno.EIO),
        (lambda file: tarfile.open(fileobj=file), errno.EIO),  # noqa: SIM115 - it never opens
        (lambda file: safe_open(UNREADABLE, framework="np"), errno.ENODEV),  # an OSError without a number
        (lambda file: zipfile.ZipFile(Broken(b"PK")), errno.EIO),  # "File is not a zip file"
    ],
)
def test_a_real_refusal_is_found_by_its_number(read: Callable[[IO[bytes]], object], code: int) -> None:
    with UNREADABLE.open("rb", buffering=0) as file, pytest.raises(Exception, match=r"\w") as caught:
        read(file)
    found = refusal(caught.value)
    assert found is not None
    assert found.errno == code


@pytest.mark.parametrize(
    "error",
    [
        None,
        zipfile.BadZipFile("no zip"),
        OSError("cannot identify image file"),
        OSError(errno.EINVAL, "Invalid argument"),  # a seek to before the beginning
        SafetensorError("header too large"),
        ValueError("error 5"),
    ],
)
def test_damaged_bytes_are_no_refusal(error: Exception | None) -> None:
    assert refusal(error) is None


def test_the_words_of_rust_have_the_number() -> None:
    found = refusal(SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"))
    assert found is not None
    assert (found.errno, found.strerror) == (errno.ENOSPC, "No space left on device")


def test_what_led_to_an_error_counts_unless_it_was_dealt_with() -> None:
    error = DataError(expected="an image", found="none")
    error.__cause__ = PermissionError(errno.EACCES, "Permission denied")
    assert refusal(error) is error.__cause__

    dealt_with = ValueError("no zip")
    dealt_with.__context__ = FileNotFoundError(errno.ENOENT, "No such file or directory")
    dealt_with.__suppress_context__ = True  # raise … from None
    assert refusal(dealt_with) is None
