"""Thumbnails: small, kept while they fit, made again when the file is another."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import BadImage
from headstart.studio.thumbnail_store import LARGE, ThumbnailStore
from studio.studio_client import png


def test_a_picture_has_at_most_the_side_and_is_kept_by_version(tmp_path: Path) -> None:
    store, path = ThumbnailStore(), tmp_path / "a.png"
    path.write_bytes(png(1, side=400))

    content, kind = store.get(path, "1", 160)
    path.write_bytes(png(2, side=400))

    assert kind == "jpeg"
    assert Image.open(io.BytesIO(content)).size == (160, 160)
    assert store.get(path, "1", 160)[0] is content
    assert store.get(path, "2", 160)[0] != content


def test_memory_is_bounded_and_what_was_used_last_stays(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        path.write_bytes(png(i, side=40))
    one = len(ThumbnailStore().get(paths[0], "", 160)[0])
    store = ThumbnailStore(most_bytes=3 * one + one // 2)

    for path in (*paths[:3], paths[0], paths[3]):
        store.get(path, "", 160)

    assert [path.name for path, _, _ in store._kept] == ["2.png", "0.png", "3.png"]
    assert store._size <= 3 * one + one // 2


@pytest.mark.slow
def test_a_file_that_was_decoded_before_is_not_decoded_until_it_is_another(tmp_path: Path) -> None:
    store, path = ThumbnailStore(), tmp_path / "a.png"
    path.write_bytes(png(1, side=400))
    other = np.zeros((400, 400, 3), np.uint8)  # not what the file holds: it shows where the picture is from
    store.put(path, other)

    assert Image.open(io.BytesIO(store.get(path, "1", LARGE)[0])).convert("L").getextrema()[1] > 0  # another side
    assert Image.open(io.BytesIO(store.get(path, "1", 160)[0])).convert("L").getextrema() == (0, 0)
    store.put(path, other)
    path.write_bytes(png(2, side=400) + b" ")
    assert Image.open(io.BytesIO(store.get(path, "2", 160)[0])).convert("L").getextrema()[1] > 0


def test_a_file_that_is_no_image_says_why(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"text")
    with pytest.raises(BadImage):
        ThumbnailStore().get(tmp_path / "x.png", "", 160)
