"""cache: what a run left, and its clearing."""

from __future__ import annotations

from pathlib import Path

import pytest

import headstart as hs
from headstart.workbench.cache import clear_cache, show_cache


@pytest.mark.slow
def test_the_cache_shows_what_a_run_left_and_clearing_keeps_weights(photos: Path, tmp_path: Path) -> None:
    hs.train(photos, out=tmp_path / "run", backbone="embedded", inside=False)
    cache = show_cache()
    (cache.folder / "weights").mkdir(exist_ok=True)
    (cache.folder / "weights" / "a.pth").write_bytes(b"123")

    assert [entry.images for entry in cache.features] == [48]
    cleared = clear_cache()

    assert cleared.freed_bytes >= cache.features[0].size_bytes
    assert cleared.features == ()
    assert (cache.folder / "weights" / "a.pth").exists()
