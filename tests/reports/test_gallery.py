"""The gallery: thumbnails up to a maximum, and a reason where there is none."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from PIL import Image

from headstart.data.thumbnails import thumbnail
from headstart.reports.gallery import Gallery


def some_images(folder: Path, count: int = 4) -> dict[str, Path]:
    paths = {f"{i}.png": folder / f"{i}.png" for i in range(count)}
    for i, path in enumerate(paths.values()):
        Image.new("RGB", (20, 10), (60 * i, 0, 0)).save(path)
    return paths


def test_an_image_is_its_thumbnail_with_an_address_that_needs_no_escaping(tmp_path: Path) -> None:
    paths = some_images(tmp_path)

    image = Gallery(paths).image("1.png")

    assert image.thumbnail == thumbnail(paths["1.png"])
    assert isinstance(image.address, Markup)
    assert image.address == thumbnail(paths["1.png"]).address


def test_an_unknown_name_has_no_thumbnail_and_a_broken_file_a_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    gallery = Gallery({"broken.png": tmp_path / "broken.png"})

    broken, unknown = gallery.image("broken.png"), gallery.image("other.png")

    assert (broken.thumbnail, broken.reason) == (None, "the file is empty (0 bytes)")
    assert (unknown.thumbnail, unknown.reason, unknown.address) == (None, "", "")
    assert "broken.png" in gallery
    assert "other.png" not in gallery


def test_thumbnails_are_opened_up_to_the_maximum_and_names_follow(tmp_path: Path) -> None:
    gallery = Gallery(some_images(tmp_path), max_images=3)

    shown = [gallery.image(f"{i}.png").thumbnail is not None for i in range(4)]

    assert shown == [True, True, True, False]
    assert gallery.remaining == 0


def test_a_grid_counts_what_it_leaves_out(tmp_path: Path) -> None:
    gallery = Gallery(some_images(tmp_path), max_images=3)

    first = gallery.grid(["0.png", "1.png", "2.png"], most=2, count=10)
    full = gallery.grid(["0.png", "1.png", "2.png", "3.png"], most=4)

    assert [image.name for image in first.images] == ["0.png", "1.png"]
    assert (first.left_out, first.has_thumbnails) == (8, True)
    assert [image.thumbnail is not None for image in full.images] == [True, False]  # two at least, by name
    assert full.left_out == 2
    assert not gallery.grid(["3.png"], most=1).has_thumbnails
