"""Arrivals: images that are decoded once, while they come; what is learned from them waits here for the live head.

bytes ──▶ open: pixels for whoever takes them in ──▶ facts, prepared pixels ──▶ absorb: index, cache of features
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch

from headstart import runtime
from headstart.data.batches import Prepare
from headstart.data.image_index import ImageFacts, ImageIndex, facts_of
from headstart.data.images import ImageRules, OpenedImage, open_image
from headstart.features.extract import Forward, open_store, store_prepared
from headstart.workbench.session import Session
from headstart.workbench.starting_point import StartingPoint

_AT_ONCE = 32  # images whose features are computed together: a change that comes meanwhile waits a fraction of a second
_MOST = 10_000  # images that wait, their facts take 15 MB
_MOST_BYTES = 64_000_000  # of prepared pixels; images beyond are decoded again, as those that come some other way


@dataclass(frozen=True)
class _Arrival:
    """One image; pixels 3×S×S uint8, None where they were not prepared."""

    facts: ImageFacts
    pixels: torch.Tensor | None


class Arrivals:
    """`open` is called by any thread, `absorb` by one.

    Args:
        session: how images are opened, and where features are kept.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._waiting: dict[str, _Arrival] = {}
        self._bytes = 0
        self._prepare: Prepare | None = None

    def open(self, data: bytes, rules: ImageRules) -> OpenedImage:
        """Decode an image; its facts, and pixels once it is known how to prepare them, wait for `absorb`.

        Raises:
            BadImage: it cannot be used.
        """
        opened = open_image(data, rules)
        if len(self._waiting) >= _MOST:
            return opened
        facts = facts_of(hashlib.sha256(data).hexdigest(), opened)
        prepare = self._prepare if self._bytes < _MOST_BYTES else None
        one = _Arrival(facts, None if prepare is None else prepare(opened.rgb))
        with self._lock:
            before = self._waiting.get(facts.content)
            self._waiting[facts.content] = one
            self._bytes += _size(one) - (_size(before) if before else 0)
        return opened

    def __len__(self) -> int:
        return len(self._waiting)

    def absorb(self, start: StartingPoint, forward: Callable[[int], Forward]) -> int:
        """Put some of the waiting images into the index and the cache of features; how many there were.

        Args:
            forward: number of images → the engine's function.

        Raises:
            RunError: the disk is full.
        """
        backbone = start.backbone
        self._prepare = backbone.preprocess.prepare
        with self._lock:
            taken = [self._waiting.pop(content) for content in list(self._waiting)[:_AT_ONCE]]
            self._bytes -= sum(_size(one) for one in taken)
        if not taken:
            return 0
        rules = self._session.rules
        index = ImageIndex(runtime.cache_folder())
        try:
            index.add([one.facts for one in taken], rules)
        finally:
            index.close()
        store = open_store(self._session.cache, backbone, rules)
        new = {o.facts.content: o.pixels for o in taken if o.pixels is not None and o.facts.content not in store}
        if new:
            store_prepared(list(new.values()), list(new), backbone, forward=forward(len(new)), store=store)
        return len(taken)


def _size(one: _Arrival) -> int:
    return 0 if one.pixels is None else one.pixels.nbytes
