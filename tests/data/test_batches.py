"""Batches of prepared pixels: in order, complete, with the reasons of unreadable images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drawn_scenes import pixels, save, scene
from headstart.data.batches import PixelBatch, pixel_batches
from headstart.data.images import ImageRules
from mutated_images import whole_file


def prepare(rgb: NDArray[np.uint8]) -> torch.Tensor:
    """The upper left 8×8 pixels."""
    return torch.from_numpy(rgb[:8, :8].copy()).permute(2, 0, 1)


def batches(sources: list[Path | bytes], batch_size: int = 4, workers: int = 3) -> list[PixelBatch]:
    return list(pixel_batches(sources, prepare, rules=ImageRules(), batch_size=batch_size, workers=workers))


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_every_image_comes_once_in_order(tmp_path: Path, workers: int) -> None:
    paths: list[Path | bytes] = [save(tmp_path / f"{i}.png", scene(i, (20, 16))) for i in range(10)]

    found = batches(paths, workers=workers)

    assert [batch.positions for batch in found] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    expected = torch.stack([prepare(pixels(scene(i, (20, 16)))) for i in range(10)])
    assert torch.equal(torch.cat([batch.pixels for batch in found]), expected)
    assert all(batch.pixels.is_contiguous() for batch in found)


def test_unreadable_images_are_in_no_batch_and_have_a_reason(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", scene(0, (20, 16)))

    (batch,) = batches([good, b"not an image", good.read_bytes()])

    assert (batch.positions, len(batch.pixels)) == ((0, 2), 2)
    assert list(batch.failures) == [1]
    assert "not an image" in batch.failures[1]


def test_a_batch_of_unreadable_images_has_no_pixels() -> None:
    (batch,) = batches([b"", b"x"])

    assert (batch.positions, batch.pixels.shape[0], sorted(batch.failures)) == ((), 0, [0, 1])


def test_no_images_are_no_batches() -> None:
    assert batches([]) == []


def test_at_most_two_batches_are_decoded_ahead(tmp_path: Path) -> None:
    paths: list[Path | bytes] = [save(tmp_path / f"{i}.png", scene(i, (20, 16))) for i in range(12)]
    prepared: list[int] = []

    def count(rgb: NDArray[np.uint8]) -> torch.Tensor:
        prepared.append(1)
        return prepare(rgb)

    stream = pixel_batches(paths, count, rules=ImageRules(), batch_size=2, workers=2)
    next(stream)

    assert len(prepared) <= 4
    stream.close()


def test_damage_that_takes_a_second_decoding_is_looked_for_once_per_content(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    monkeypatch.setattr("headstart.data.images.unused_data", lambda image, data: looked.append(data))
    whole = whole_file("webp", 0)
    content = hashlib.sha256(whole).hexdigest()

    list(pixel_batches([whole], prepare, rules=ImageRules(), batch_size=1, workers=1, contents=[content]))
    assert looked == []

    batches([whole])
    assert looked == [whole]
