"""cache: what is kept for later runs, where it lies and how large it is; and its clearing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from headstart import runtime
from headstart.features.cache import CacheEntry
from headstart.files import remove
from headstart.plain import Plain
from headstart.public_api import public_api
from headstart.workbench.session import Session


@dataclass(frozen=True)
class CacheState(Plain):
    """What lies in the cache folder.

    Args:
        features: one entry for each backbone, weights and preprocessing, last used first.
        other_bytes: image facts, fetched weights, unpacked archives, exported networks, data sets given as values.
        freed_bytes: what a clearing just removed.
    """

    folder: Path
    features: tuple[CacheEntry, ...]
    feature_limit_bytes: float
    other_bytes: dict[str, int]
    freed_bytes: int = 0


@public_api
def show_cache() -> CacheState:
    """What is in the user's cache; `HEADSTART_CACHE` names another folder."""
    cache, folder = Session().cache, runtime.cache_folder()
    rest = sorted(path for path in folder.glob("*") if path.name != "features") if folder.is_dir() else []
    sizes = {path.name: _size(path) for path in rest}
    return CacheState(folder, cache.entries(), feature_limit_bytes=cache.limit_bytes, other_bytes=sizes)


@public_api
def clear_cache() -> CacheState:
    """Remove all that can be made again, and data sets given as values; fetched weights stay.

    Raises:
        RunError: something cannot be removed.
    """
    before = show_cache()
    for name in ("features", *before.other_bytes):
        if name != "weights":  # a download is dear, and may have been put there by hand
            remove(before.folder / name, strict=True)
    after = show_cache()
    return replace(after, freed_bytes=_bytes(before) - _bytes(after))


def _bytes(state: CacheState) -> int:
    return sum(state.other_bytes.values()) + sum(entry.size_bytes for entry in state.features)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
