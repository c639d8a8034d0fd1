"""Whatever is given as an image becomes the pixels that its file would give."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from headstart.data.image_source import is_image_source, list_sources, name_of, readable_image
from headstart.data.images import ImageRules, open_image
from headstart.errors import DataError, DownloadError

Pixels = NDArray[np.uint8]


def rgb_of(image: Any, rules: ImageRules) -> Pixels:
    return image if isinstance(image, np.ndarray) else open_image(image, rules).rgb


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def file(pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "x.png"
    Image.fromarray(pixels).save(path)
    return path


class _PathLike(os.PathLike[str]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


FORMS: dict[str, tuple[Callable[[Path, Pixels], Any], str]] = {
    "path": (lambda file, _: file, "x.png"),
    "text": (lambda file, _: str(file), "x.png"),
    "path-like": (lambda file, _: _PathLike(file), "x.png"),
    "bytes": (lambda file, _: file.read_bytes(), "<bytes>"),
    "bytearray": (lambda file, _: bytearray(file.read_bytes()), "<bytes>"),
    "memoryview": (lambda file, _: memoryview(file.read_bytes()), "<bytes>"),
    "BytesIO": (lambda file, _: io.BytesIO(file.read_bytes()), "<image>"),
    "open file": (lambda file, _: file.open("rb"), "x.png"),
    "Pillow image": (lambda file, _: Image.open(file), "x.png"),
    "Pillow image in memory": (lambda _, pixels: Image.fromarray(pixels), "<image>"),
    "array": (lambda _, pixels: pixels, "<array>"),
    "array with strides": (lambda _, pixels: np.asfortranarray(pixels), "<array>"),
    "tensor": (lambda _, pixels: torch.from_numpy(pixels).permute(2, 0, 1), "<tensor>"),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_pixels_and_a_name(form: str, file: Path, pixels: Pixels) -> None:
    source, name = FORMS[form][0](file, pixels), FORMS[form][1]

    assert is_image_source(source)
    assert name_of(source).endswith(name)
    np.testing.assert_array_equal(rgb_of(readable_image(source), ImageRules()), pixels)
    if hasattr(source, "close"):
        source.close()


def test_grey_arrays_get_three_equal_channels(pixels: Pixels) -> None:
    grey = pixels[..., 0]
    expected = np.stack([grey, grey, grey], axis=2)

    for source in (grey, grey[..., None], torch.from_numpy(grey)[None]):
        np.testing.assert_array_equal(readable_image(source), expected)


def test_bgr_turns_the_channels_of_an_array_and_of_nothing_else(file: Path, pixels: Pixels) -> None:
    np.testing.assert_array_equal(readable_image(pixels, bgr=True), pixels[..., ::-1])
    assert readable_image(file, bgr=True) == file


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16", "CMYK", "F"])
def test_a_pillow_image_of_any_mode_is_read_as_its_file_is(mode: str, pixels: Pixels, tmp_path: Path) -> None:
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(pixels).convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "F") else "x.png")
    image.save(path)

    rules = ImageRules(background=(10, 20, 30))
    np.testing.assert_array_equal(rgb_of(readable_image(image), rules), open_image(path, rules).rgb)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_pillow_image_is_turned_as_its_exif_data_says(turn: int, pixels: Pixels, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path, exif=exif)
    with Image.open(path) as image:
        found = rgb_of(readable_image(image), ImageRules())

    np.testing.assert_array_equal(found, open_image(path).rgb)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32.*255"),
        (np.zeros((4, 4, 4), np.uint8), "Pillow"),
        (np.zeros((2, 4, 4, 3), np.uint8), "list"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), "permute"),
        (torch.zeros(3, 4, 4), "normalised"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8).to_sparse(), "sparse.*dense"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8, device="meta"), "meta.*dense"),
        (io.StringIO("text"), "rb"),
        (None, "NoneType"),
        (5, "int"),
    ],
)
def test_what_is_no_image_is_refused_with_the_way_to_make_it_one(source: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        readable_image(source)


def test_several_come_from_anything_that_can_be_iterated(file: Path) -> None:
    assert list_sources(f for f in (file, b"x")) == [file, b"x"]
    assert list_sources((file,)) == (file,)
    with pytest.raises(DataError, match="int"):
        list_sources(5)


def test_names_of_columns_and_keys_are_not_taken_for_images(file: Path) -> None:
    with pytest.raises(DataError, match=r"dict.*values"):
        list_sources({"first": file})
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"path": [str(file)]})
    with pytest.raises(DataError, match=r"table.*\['path'\]"):
        list_sources(table)
    assert list(list_sources(table["path"])) == [str(file)]


@pytest.fixture
def server(file: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(file.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_address_is_fetched_only_where_the_network_is_allowed(server: str, pixels: Pixels) -> None:
    with pytest.raises(DataError, match="network=True"):
        readable_image(f"{server}/x.png")
    np.testing.assert_array_equal(rgb_of(readable_image(f"{server}/x.png", network=True), ImageRules()), pixels)
    with pytest.raises(DownloadError):
        readable_image(f"{server}/nothing.png", network=True)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "GIF"])
def test_a_pillow_image_that_is_closed_or_cut_off_is_refused(pixels: Pixels, format: str) -> None:
    encoded = io.BytesIO()
    Image.fromarray(np.tile(pixels, (12, 12, 1))).save(encoded, format)
    closed = Image.open(io.BytesIO(encoded.getvalue()))
    closed.close()
    cut = Image.open(io.BytesIO(encoded.getvalue()[: len(encoded.getvalue()) // 2]))

    for image in (closed, cut):
        with pytest.raises(DataError, match="a Pillow image that cannot be read"):
            readable_image(image)


def test_a_file_that_is_closed_or_opened_for_writing_is_refused(tmp_path: Path) -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    with (tmp_path / "new.png").open("wb") as writing:
        for file in (closed, writing):
            with pytest.raises(DataError, match="a file that cannot be read"):
                readable_image(file)


class _Camera:
    """Like cv2.VideoCapture: its `read` takes no number of bytes, and gives a pair."""

    def read(self) -> tuple[bool, Pixels]:
        return True, np.zeros((4, 4, 3), np.uint8)


class _NoPath:
    def __fspath__(self) -> int:  # type: ignore[override]
        return 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Image.new("RGB", (0, 0)), r"Pillow image of 0 × 0 pixels"),
        (Image.new("L", (7, 0)), r"Pillow image of 7 × 0 pixels"),
        (torch.nested.nested_tensor([torch.zeros(3, 4)], layout=torch.jagged), r"a nested tensor.*unbind"),
        (np.ma.masked_equal(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), 5), r"masked.*filled"),
        (_NoPath(), r"_NoPath, whose __fspath__\(\) gives no path"),
    ],
)
def test_what_has_no_pixels_to_show_is_refused(source: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        readable_image(source)


@pytest.mark.parametrize("source", [_Camera(), os])
def test_what_has_another_kind_of_read_is_refused(source: object) -> None:
    with pytest.raises(DataError, match=r"whose read\(\) gives no bytes"):
        readable_image(source)


def test_a_column_of_paths_is_several_images(file: Path) -> None:
    for column in (np.array([str(file)] * 2), np.array([file, file], dtype=object)):
        assert not is_image_source(column)
        assert [Path(one) for one in list_sources(column)] == [file, file]
    assert is_image_source(np.zeros((2, 2, 3), dtype=object))  # refused as pixels that are no numbers


def test_an_open_file_at_its_end_is_said(file: Path) -> None:
    opened = io.BytesIO(file.read_bytes())
    opened.seek(0, io.SEEK_END)

    with pytest.raises(DataError, match=r"at its end .*file\.seek\(0\)"):
        readable_image(opened)
    with pytest.raises(DataError, match=r"a Pillow image that cannot be read.*Give the path of its file"):
        readable_image(Image.open(io.BytesIO(file.read_bytes()[:60])))


def test_a_path_may_come_as_bytes_of_the_system(file: Path) -> None:
    class Place:
        def __fspath__(self) -> bytes:
            return os.fsencode(file)

    assert readable_image(Place()) == file


def test_a_matrix_is_an_array(pixels: Pixels) -> None:
    grey = np.ascontiguousarray(pixels[..., 0])

    with pytest.warns(PendingDeprecationWarning):
        found = readable_image(np.matrix(grey))
    assert np.array_equal(found, readable_image(grey))  # type: ignore[arg-type]


def test_whole_numbers_that_may_be_8_or_16_bits_are_asked_for(pixels: Pixels) -> None:
    grey = Image.fromarray(pixels[..., 0])

    with pytest.raises(DataError, match="may be meant as 8 bits or as dark 16 bits"):
        readable_image(grey.convert("I"))
    deep = Image.fromarray(pixels[..., 0].astype(np.int32) * 257)
    assert np.array_equal(rgb_of(readable_image(deep), ImageRules())[..., 0], pixels[..., 0])
