"""HEIC photographs are opened where pillow-heif is installed; without it the reason names the extra."""

from __future__ import annotations

import builtins
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headstart.data import heif
from headstart.data.folder_scan import read_tree
from headstart.data.image_index import ImageIndex
from headstart.data.image_set import Sample
from headstart.data.images import BadImage, ImageRules, open_image

_HEAD = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"


def _drawn() -> NDArray[np.uint8]:
    """40×64: red above, blue below, so that a rotation shows."""
    rgb = np.zeros((40, 64, 3), np.uint8)
    rgb[:20], rgb[20:] = (220, 30, 20), (10, 40, 200)
    return rgb


def _heic(orientation: int = 1) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs headstart[heic]")
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = pillow_heif.from_pillow(Image.fromarray(_drawn()))
    buffer = io.BytesIO()
    image.save(buffer, quality=95, exif=exif.tobytes())
    return buffer.getvalue()


@pytest.fixture
def without_pillow_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "pillow_heif":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    heif.can_open.cache_clear()
    yield
    monkeypatch.undo()
    heif.can_open.cache_clear()


@pytest.mark.parametrize(
    ("head", "is_heif"),
    [
        (_HEAD, True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", True),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", False),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", False),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", False),
        (b"\xff\xd8\xff\xe0", False),
        (b"", False),
    ],
)
def test_the_brands_of_the_first_box_tell_heif_from_avif_and_films(head: bytes, is_heif: bool) -> None:
    assert heif.is_heif(head) is is_heif


def test_a_heic_photograph_is_opened_with_its_colours() -> None:
    opened = open_image(_heic())

    assert (opened.format, opened.rgb.shape) == ("HEIF", (40, 64, 3))
    assert np.abs(opened.rgb.astype(int) - _drawn()).mean() < 3


def test_it_is_turned_once_as_its_orientation_says() -> None:
    opened = open_image(_heic(orientation=6))  # the top is at the right

    assert opened.rgb.shape == (64, 40, 3)
    assert np.abs(opened.rgb.astype(int) - np.rot90(_drawn(), -1)).mean() < 3


def test_more_pixels_than_the_bound_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(BadImage, match="64×40 pixels are more than the bound of 1,000"):
        open_image(_heic(), ImageRules(max_pixels=1_000))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(share: float) -> None:
    whole = _heic()

    with pytest.raises(BadImage, match="truncated"):
        open_image(whole[: int(len(whole) * share)])


def test_a_folder_holds_heic_files_as_images(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(_HEAD)
    (tmp_path / "IMG_2").write_bytes(_HEAD)

    assert read_tree(tmp_path).images == ("IMG_1.HEIC", "IMG_2")


@pytest.mark.usefixtures("without_pillow_heif")
@pytest.mark.parametrize("keep_damaged", [False, True])
def test_without_the_extra_the_reason_names_it(keep_damaged: bool) -> None:
    with pytest.raises(BadImage) as error:
        open_image(_HEAD + bytes(400), ImageRules(keep_damaged=keep_damaged))

    assert error.value.reason == 'a HEIC photograph, which needs pillow-heif: pip install "headstart[heic]"'


@pytest.mark.usefixtures("without_pillow_heif")
def test_what_could_not_be_opened_is_tried_again_once_the_extra_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "photo.heic"
    photo.write_bytes(_HEAD + bytes(400))
    sample = Sample(photo, "photo.heic")

    index = ImageIndex(tmp_path / "cache")
    (first,) = index.facts([sample])
    monkeypatch.setattr(heif, "can_open", lambda: True)
    (second,) = index.facts([sample])
    index.close()

    assert "headstart[heic]" in str(first.error)
    assert "its header cannot be read" in str(second.error)
