"""The body of a request, read with bounds: bytes are counted while they arrive, parts are counted, time is limited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from headstart.serving.limits import ServerLimits


class Refusal(Exception):
    """A request that is answered with a status of its own and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


async def read_images(request: Request, limits: ServerLimits) -> tuple[list[bytes], bool]:
    """The images of a request, and whether they came as a form, so that several may be meant.

    Raises:
        Refusal: 400 empty or broken; 408 too slow; 413 too large or too many; 415 another kind of content.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = kind == "multipart/form-data"
    if not form and kind != "application/octet-stream" and not kind.startswith("image/"):
        raise Refusal(415, "send the bytes of one image (image/… or application/octet-stream) or multipart/form-data")
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Refusal(415, "send the images as they are, without Content-Encoding: they are compressed already")
    try:
        body = await asyncio.wait_for(_read(request, limits), limits.body_seconds)
    except TimeoutError:
        raise Refusal(408, f"the request did not arrive within {limits.body_seconds:g} seconds") from None
    except ClientDisconnect:
        raise Refusal(400, "the connection was closed before the request was complete") from None
    images = await _parts(request, body, limits) if form else [body]
    if not images or not all(images):
        raise Refusal(400, "no image in the request" if not images else "an image is empty (0 bytes)")
    return images, form


async def _read(request: Request, limits: ServerLimits) -> bytes:
    too_large = Refusal(413, f"a request may have {limits.body_bytes:,} bytes")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > limits.body_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.body_bytes:
            raise too_large
    return bytes(body)


def _check_end(request: Request, body: bytes) -> None:
    """See that a form is complete: the parser hands out the parts that are, and drops the one that breaks off."""
    _, values = parse_options_header(request.headers.get("content-type"))
    if b"--" + values.get(b"boundary", b"") + b"--" not in body:
        raise Refusal(400, "the form breaks off: the boundary that ends it is missing")


async def _parts(request: Request, body: bytes, limits: ServerLimits) -> list[bytes]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, stream(), max_files=limits.images, max_fields=0, max_part_size=limits.body_bytes
    )
    try:
        form = await parser.parse()
        _check_end(request, body)
        return [await file.read() for _, file in form.multi_items() if isinstance(file, UploadFile)]
    except MultiPartException as error:
        many = "Too many" in error.message
        raise Refusal(413 if many else 400, f"{error.message} At most {limits.images} files, no fields.") from error
    except (KeyError, ValueError, AttributeError, UnicodeError) as error:  # a broken header of a part
        raise Refusal(400, "the form cannot be read") from error
    finally:
        for file in getattr(parser, "_files_to_close_on_error", ()):  # those of a part that is not complete, too
            file.close()
