"""Batches of prepared uint8 pixels from image files: decoded by threads, in order, with a bounded number in flight.

Decoding and resizing release Python's lock, so threads keep all cores busy without a second import of torch.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.images import BadImage, ImageRules, open_image, read_bytes

Prepare = Callable[[NDArray[np.uint8]], torch.Tensor]
"""H×W×3 uint8 → 3×S×S uint8: a backbone's resize and crop, passed in because `data` does not import `backbones`."""


@dataclass(frozen=True)
class PixelBatch:
    """Prepared images of one batch.

    Args:
        positions: n, index of each image in the sources.
        pixels: n×3×S×S uint8.
        failures: index → reason, for images of this batch that could not be read; they have no pixels.
        damage: index → reason, for damaged images that are used because the rules say so.
    """

    positions: tuple[int, ...]
    pixels: torch.Tensor
    failures: dict[int, str]
    damage: dict[int, str] = field(default_factory=dict)


_Prepared = tuple[NDArray[np.uint8] | None, str | None]  # pixels, or None; why not, or what is wrong with them


def pixel_batches(
    sources: Iterable[Path | bytes | NDArray[np.uint8] | BadImage],
    prepare: Prepare,
    *,
    rules: ImageRules,
    batch_size: int,
    workers: int,
    contents: Sequence[str] | None = None,
) -> Generator[PixelBatch, None, None]:
    """Decode and prepare every source once, in order; at most three batches are in memory.

    Sources are paths, the bytes of files, or pixels H×W×3 uint8; or the reason why one of them could not be had.

    A batch may be empty of pixels (0×…) when all of its images failed.

    Args:
        contents: SHA-256 (hex) that each source's bytes must have: the very bytes that are decoded are hashed, so that
            nothing is stored under the content of a file that has changed. None: any bytes will do.
    """

    rules = replace(rules, checked=contents is not None)  # contents come from the index, which has opened them

    def one(position: int, source: Path | bytes | NDArray[np.uint8] | BadImage) -> _Prepared:
        if isinstance(source, BadImage):
            return None, source.reason
        if isinstance(source, np.ndarray):
            return _packed(prepare(source)), None
        try:
            data: Path | bytes = source
            if contents is not None:
                data = source if isinstance(source, bytes) else read_bytes(source)
                if hashlib.sha256(data).hexdigest() != contents[position]:
                    return None, "the file was changed while it was in use"
            image = open_image(data, rules)
        except BadImage as bad:
            return None, bad.reason
        return _packed(prepare(image.rgb)), image.damage or image.suspicion

    waiting = iter(enumerate(sources))
    ahead: deque[tuple[int, Future[_Prepared]]] = deque()
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="decode") as pool:
        try:
            while True:
                free = 2 * batch_size - len(ahead)
                ahead.extend(
                    (position, pool.submit(one, position, source)) for position, source in islice(waiting, free)
                )
                if not ahead:
                    return
                taken = [ahead.popleft() for _ in range(min(batch_size, len(ahead)))]
                yield _batch([(position, future.result()) for position, future in taken])
        finally:
            for _, future in ahead:
                future.cancel()


def _packed(pixels: torch.Tensor) -> NDArray[np.uint8]:
    """3×S×S in one piece. NumPy copies in this thread alone: torch would share each copy among all cores, which the
    decoding threads keep busy, and wait for the last of them (32 images on two busy cores: 300 ms instead of 12).
    """
    return np.ascontiguousarray(pixels.numpy())


def _batch(results: list[tuple[int, _Prepared]]) -> PixelBatch:
    good = [(position, pixels) for position, (pixels, _) in results if pixels is not None]
    said = {position: (pixels is None, text) for position, (pixels, text) in results if text is not None}
    return PixelBatch(
        positions=tuple(position for position, _ in good),
        pixels=torch.from_numpy(np.stack([pixels for _, pixels in good]) if good else np.empty((0, 3, 0, 0), np.uint8)),
        failures={position: text for position, (failed, text) in said.items() if failed},
        damage={position: text for position, (failed, text) in said.items() if not failed},
    )
