"""What a user may give as an image, besides a path: encoded bytes, an open file, a Pillow image, an array, a tensor."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.images import MAX_FILE_BYTES, as_path
from headstart.data.video import Frame
from headstart.download import DownloadLimits, download
from headstart.errors import DataError, first_line

Readable = Path | bytes | NDArray[np.uint8]
"""A path, the bytes of an image file, or pixels H×W×3 uint8 RGB."""

_BYTE = 255
_PATHS = "OUS"  # kinds of arrays that hold texts or objects
WANTED = "an image: a path, encoded bytes, an open file, a Pillow image, an H×W×3 uint8 array or a 3×H×W uint8 tensor"


def is_address(value: object) -> bool:
    """Whether this is an address on the web."""
    return isinstance(value, str) and value.lower().startswith(("https://", "http://"))


def is_image_source(value: object) -> bool:
    """Whether this is meant as one image, and not as several."""
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in _PATHS:  # such as a column of a table
        return False
    return (
        isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, torch.Tensor))
        or hasattr(value, "read")
        or _is_pillow(value)
    )


def readable_image(source: object, *, bgr: bool = False, network: bool = False) -> Readable:
    """A path, encoded bytes or pixels, from whatever is given as one image.

    Args:
        source: an array of one or three channels, uint8, H×W, H×W×1 or H×W×3; or a uint8 tensor 1×H×W or 3×H×W; or a
            Pillow image, turned as its EXIF data says, transparent or not; or an open binary file, read to its end.
        bgr: whether the channels of an array are blue, green, red, as OpenCV gives them.
        network: whether an address may be fetched.

    Raises:
        DataError: it is none of these, its numbers are not grey levels from 0 to 255, or the address may not be used.
        DownloadError: the address cannot be fetched.
    """
    if is_address(source):
        return _fetched(str(source), network=network)
    if isinstance(source, Frame):
        return source.rgb
    if isinstance(source, np.ndarray):
        return _array(source, bgr=bgr)
    if isinstance(source, torch.Tensor):
        return _tensor(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if hasattr(source, "read"):
        try:
            data = source.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:  # closed, opened for writing, or its disk fails
            raise _refused(
                f"a file that cannot be read: {error}", "Open it, and give it before it is closed."
            ) from error
        except Exception as error:  # what else has a `read`, such as a camera of OpenCV, may raise anything
            raise _refused(
                f"{type(source).__name__}, whose read() gives no bytes ({first_line(error)})",
                'Give a file opened with mode "rb", or a picture of it as an array.',
            ) from error
        if not isinstance(data, bytes):
            raise _refused(f"a file of {type(data).__name__}", 'Open it with mode "rb".')
        if not data and _place(source):
            raise _refused("a file that is at its end", "Go back to its beginning before: file.seek(0).")
        return data
    if _is_pillow(source):
        return _pillow(source)
    if isinstance(source, os.PathLike) and not isinstance(source, Path):
        return as_path(_path_text(source))
    if not isinstance(source, (str, Path)):
        raise _refused(type(source).__name__, "Save the picture into a file, or give its pixels as an array.")
    return as_path(source)


def name_of(source: object) -> str:
    """What a prediction calls an image: its path where it has one, else its kind in angle brackets."""
    if isinstance(source, (str, Path)):
        return str(source)
    named = getattr(source, "filename", "") or getattr(source, "name", "")  # of a Pillow image, of an open file
    if isinstance(named, str) and named:
        return named
    if isinstance(source, os.PathLike):
        return str(_path_text(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "<bytes>"
    return (
        "<array>" if isinstance(source, np.ndarray) else "<tensor>" if isinstance(source, torch.Tensor) else "<image>"
    )


def list_sources(sources: object) -> Sequence[object]:
    """The images of anything that holds several: a sequence, a generator, a Dataset or an ImageSet.

    Raises:
        DataError: it cannot be iterated, or iterating would give names instead of images.
    """
    samples = getattr(sources, "samples", None)
    if samples is not None:
        return [sample.path for sample in samples]
    if isinstance(sources, Mapping):
        raise _refused("a dict", "Give its values: list(images.values()).")
    if hasattr(sources, "columns"):  # a DataFrame, of pandas or another: iterating gives the names of its columns
        raise _refused(f"a table ({type(sources).__name__})", "Give its column of images: table['path'].")
    if not isinstance(sources, Iterable):
        raise _refused(type(sources).__name__, "Give one image, or an iterable of images.")
    return sources if isinstance(sources, Sequence) else list(sources)


def _fetched(address: str, *, network: bool) -> bytes:
    if not network:
        raise DataError(
            expected="an image on this machine",
            found="an address",
            where=address,
            hint="Allow the network: network=True; on the command line it is, without --offline.",
        )
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        limits = DownloadLimits(most_bytes=MAX_FILE_BYTES)
        return download(address, Path(folder) / "image", limits=limits).read_bytes()


def _place(file: object) -> int:
    """How many bytes of a file were read before; 0 where it does not say."""
    try:
        return int(file.tell())  # type: ignore[attr-defined]
    except Exception:  # a stream, or code of others
        return 0


def _path_text(source: os.PathLike[str]) -> str:
    try:
        return os.fsdecode(source)
    except Exception as error:  # code of others
        raise _refused(f"{type(source).__name__}, whose __fspath__() gives no path", "Give a str or a Path.") from error


def _array(array: NDArray[Any], *, bgr: bool) -> NDArray[np.uint8]:
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise _refused("an array of which pixels are masked", "Say what they are: array.filled(0).")
    array = np.asarray(array)  # of a subclass: a matrix cannot have three dimensions
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if channels not in (1, 3) or not array.size:
        hint = "A batch N×H×W×3 is given as list(batch); transparency as a Pillow image."
        raise _refused(f"an array of shape {array.shape}", hint)
    if array.dtype != np.uint8:
        raise _refused(f"an array of {array.dtype}", "Scale it to 0 … 255 and use .astype(numpy.uint8).")
    pixels = array[..., None] if array.ndim == 2 else array
    if channels == 1:
        pixels = pixels.repeat(3, axis=2)
    return np.ascontiguousarray(pixels[..., ::-1] if bgr and channels == 3 else pixels)


def _tensor(tensor: torch.Tensor) -> NDArray[np.uint8]:
    if tensor.is_nested:  # it has no shape
        raise _refused("a nested tensor", "Give its parts: list(tensor.unbind()).")
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        hint = "A batch N×3×H×W is given as list(batch); an H×W×3 tensor with .permute(2, 0, 1)."
        raise _refused(f"a tensor of shape {tuple(tensor.shape)}", hint)
    if tensor.dtype != torch.uint8:
        hint = "Give grey levels from 0 to 255, not normalised: headstart prepares them as the network needs."
        raise _refused(f"a tensor of {tensor.dtype}", hint)
    try:
        pixels = tensor.detach().cpu().permute(1, 2, 0).numpy()
    except (RuntimeError, TypeError) as error:  # a sparse tensor, or one without data: of the meta device
        raise _refused(
            f"a tensor on {tensor.device} with layout {tensor.layout}", "Give a dense CPU tensor."
        ) from error
    return _array(pixels, bgr=False)


def _is_pillow(value: object) -> bool:
    pillow = sys.modules.get("PIL.Image")  # without it no value can be of its kind
    return pillow is not None and isinstance(value, pillow.Image)


def _pillow(image: Any) -> Readable:
    try:  # an image that was opened is read now: it may be closed, damaged or cut off
        exif = image.getexif()
        image.load()
    except Exception as error:  # whatever Pillow raises on it
        reason = str(error) or "it is closed"
        is_closed = "closed" in reason or "seek" in reason  # the file is closed, or the image
        hint = (
            "Give it before it is closed."
            if is_closed
            else "Give the path of its file: the answer then names the damage."
        )
        raise _refused(f"a Pillow image that cannot be read: {reason}", hint) from error
    if not image.width or not image.height:
        raise _refused(f"a Pillow image of {image.width} × {image.height} pixels", "Give one that has pixels.")
    if image.mode == "I" and image.getextrema()[0] >= 0 and image.getextrema()[1] <= _BYTE:
        found = "a Pillow image of mode I whose values are at most 255: they may be meant as 8 bits or as dark 16 bits"
        raise _refused(found, 'Say which: image.convert("L"), or image.convert("I;16").')
    if image.mode == "RGB" and exif.get(0x0112, 1) == 1:  # upright
        return np.array(image)  # a copy: Pillow's own memory cannot be written, which torch warns of
    encoded = io.BytesIO()  # lossless, so that modes, transparency and turns are those of a file
    try:
        image.save(encoded, "TIFF" if image.mode in ("F", "I", "CMYK", "LAB", "YCbCr") else "PNG", exif=exif)
    except (OSError, ValueError) as error:
        raise _refused(f"a Pillow image of mode {image.mode}", 'Convert it: image.convert("RGB").') from error
    return encoded.getvalue()


def _refused(found: str, hint: str) -> DataError:
    return DataError(expected=WANTED, found=found, where="source", hint=hint)
