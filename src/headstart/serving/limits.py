"""ServerLimits: what one request and all of them together may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Bounds of the server.

    Args:
        body_bytes: of one request; counted while it arrives, whatever its headers say.
        body_seconds: until all of it must be there.
        images: in one request.
        pixels: of one image, checked in its header before it is decoded.
        seconds: that one image may take, from decoding to the answer.
        waiting: images that wait or are computed at once; more are turned away with 503.
        connections: at once.
        discard_bytes, discard_seconds: of a body that is sent on after its answer, before the connection is closed.
    """

    body_bytes: int = 32_000_000  # the largest photographs of phones have 25 MB
    body_seconds: float = 30.0
    images: int = 64
    pixels: int = 60_000_000  # 50-megapixel cameras; 180 MB once decoded
    seconds: float = 30.0
    waiting: int = 64
    connections: int = 256
    discard_bytes: int = 256_000_000  # nothing of them is kept
    discard_seconds: float = 5.0
