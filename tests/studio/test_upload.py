"""Uploads that the routes do not reach: a slow sender, a full disk, a suffix that lies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from headstart.data.images import open_image
from headstart.serving.body import Refusal
from headstart.studio import thumbnail_store, upload
from studio.studio_client import png


class SlowRequest:
    """A request whose body never ends."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    async def stream(self) -> object:
        yield b"x"
        await asyncio.sleep(60)


def test_a_slow_sender_is_told_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SECONDS", 0.05)
    (tmp_path / "in").mkdir()
    with pytest.raises(Refusal) as refused:
        asyncio.run(upload.receive(SlowRequest(), tmp_path / "in" / "x", 100))  # type: ignore[arg-type]
    assert refused.value.status == 408
    assert list((tmp_path / "in").iterdir()) == []


def test_a_full_disk_is_said_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload.runtime, "free_bytes", lambda _: 1000)
    with pytest.raises(Refusal) as refused:
        asyncio.run(upload.receive(SlowRequest(), tmp_path / "x", 100))  # type: ignore[arg-type]
    assert refused.value.status == 507


def test_the_suffix_is_that_of_the_content_and_the_thumbnail_needs_no_second_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lies.jpg").write_bytes(png(side=300))
    thumbnails = thumbnail_store.ThumbnailStore()
    expected = thumbnails.get(tmp_path / "lies.jpg", "before", 160)

    assert upload.check_image(tmp_path / "lies.jpg", open_image, thumbnails) == ".png"

    (tmp_path / "lies.jpg").rename(tmp_path / "true.png")
    monkeypatch.setattr(thumbnail_store, "open_image", lambda *_: pytest.fail("decoded again"))
    assert thumbnails.get(tmp_path / "true.png", "1", 160) == expected
