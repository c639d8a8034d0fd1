"""HEIC files of tiles, as phones write them: a tile with changed data is refused, whole files never are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data.heic_tiles import _alone, _tiles, unused_tile_data
from headstart.data.hevc_stream import last_slice
from headstart.data.images import BadImage, ImageRules, open_image
from headstart.data.media_items import read_items

pillow_heif = pytest.importorskip("pillow_heif", reason="needs headstart[heic]")
SIDE = 128  # of a tile


def tiled(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, *, quality: int = 85, turns: int = 0) -> bytes:
    """A picture of noise on waves in tiles, shown with so many quarter turns to the left."""
    pillow_heif.register_heif_opener()
    monkeypatch.setattr(pillow_heif.options, "GRID_TILE_SIZE", SIDE)
    rng = np.random.default_rng(4)
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = 128 + 60 * np.stack([np.sin(x / 9), np.cos(y / 13), np.sin((x + y) / 21)], axis=-1)
    buffer = io.BytesIO()
    noisy = (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(buffer, "HEIF", quality=quality)
    return _turned(buffer.getvalue(), turns) if turns else buffer.getvalue()


def _turned(whole: bytes, turns: int) -> bytes:
    """The file whose picture, not its tiles, has a turn in place of its property `pixi`, the fifth."""
    changed = bytearray(whole.replace(b"\x04\x82\x03\x04\x05", b"\x04\x82\x03\x04\x04"))  # tiles name the fourth twice
    place = changed.index(b"pixi")
    changed[place : place + 5] = b"irot" + bytes([turns])
    return bytes(changed)


@pytest.mark.slow
def test_a_tile_alone_is_its_place_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiled((300, 200), monkeypatch)
    picture = np.asarray(Image.open(io.BytesIO(whole)))
    assert len(_tiles(whole)) == 6

    np.testing.assert_array_equal(_alone(whole, _tiles(whole)[1]), picture[:SIDE, SIDE : 2 * SIDE])
    corner = _alone(whole, _tiles(whole)[5])[: 200 - SIDE, : 300 - 2 * SIDE]
    np.testing.assert_array_equal(corner, picture[SIDE:, 2 * SIDE :])


@pytest.mark.slow
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_changed_tile_is_refused(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 6 tiles at 4 places each: the decoder shows another picture and says nothing. All lie inside the picture."""
    whole = tiled((384, 256), monkeypatch, turns=turns)
    picture, refused, another = open_image(whole).rgb.astype(int), 0, 0
    for number in _tiles(whole):
        begin, end = last_slice(whole, number) or (0, 0)
        for place in range(begin + 40, end - 100, (end - begin) // 4):
            try:
                opened = open_image(whole[:place] + bytes([whole[place] ^ 0x77]) + whole[place + 1 :])
            except BadImage:
                refused += 1
            else:
                another += np.abs(opened.rgb - picture).mean() > 1

    assert refused >= 18
    assert another == 0


@pytest.mark.slow
@pytest.mark.parametrize("size", [(129, 129), (257, 150), (300, 400)])
@pytest.mark.parametrize(("quality", "turns"), [(10, 0), (60, 1), (60, 3), (100, 2)])
def test_whole_files_use_the_data_of_all_tiles(
    size: tuple[int, int], quality: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiled(size, monkeypatch, quality=quality, turns=turns)

    assert open_image(whole, ImageRules(keep_damaged=True)).damage is None


@pytest.mark.slow
def test_a_turned_picture_shows_each_tile_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whole files are decoded twice, and not each tile of them."""
    upright, alone = np.asarray(Image.open(io.BytesIO(tiled((384, 256), monkeypatch)))), list[int]()
    monkeypatch.setattr("headstart.data.heic_tiles._is_same_alone", lambda data, other, number: alone.append(number))
    for turns in range(4):
        whole = tiled((384, 256), monkeypatch, turns=turns)
        image = Image.open(io.BytesIO(whole))
        np.testing.assert_array_equal(np.asarray(image), np.rot90(upright, turns))
        assert unused_tile_data(image, whole) is None
    assert alone == []


def test_a_picture_in_one_piece_has_no_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiled((120, 90), monkeypatch)

    assert read_items(whole).place is not None
    assert unused_tile_data(Image.open(io.BytesIO(whole)), whole) is None
