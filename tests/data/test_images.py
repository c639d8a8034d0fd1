"""The one file that opens images: every odd kind becomes upright RGB or a reason, and the original is never touched."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from headstart.data import images, jpeg_pixels
from headstart.data.images import BadImage, ImageRules, OpenedImage, open_image
from headstart.errors import RecipeError
from tiff_files import tiff

# Pillow warns about some damaged files before it refuses them; a fuzz test must see the verdict, not the warning
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def picture(height: int = 12, width: int = 17) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(source: Path | bytes, rules: ImageRules | None = None) -> str:
    with pytest.raises(BadImage) as caught:
        open_image(source, rules)
    assert str(caught.value) == caught.value.reason
    return caught.value.reason


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_lossless_formats_give_the_pixels_that_were_saved(kind: str, tmp_path: Path) -> None:
    grey = np.repeat(np.arange(200, dtype=np.uint8).reshape(10, 20, 1), 3, axis=2)  # few colours: a GIF keeps them, too
    path = tmp_path / f"a{images.SUFFIXES[kind][0]}"
    path.write_bytes(encoded(Image.fromarray(grey), kind, **({"lossless": True} if kind == "WEBP" else {})))

    opened = open_image(path)

    assert (opened.format, opened.width, opened.height, opened.notes) == (kind, 20, 10, ())
    np.testing.assert_array_equal(opened.rgb, grey)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
    ids=["JPEG", "PNG", "TIFF", "TIFF-LZW"],
)
def test_exif_turns_are_those_of_pillow(turn: int, kind: str, options: dict[str, str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(Image.fromarray(smooth()), kind, exif=exif, **options)

    opened = open_image(data)

    # Pillow's reader of TIFF turns by itself: the reference is the same stored pixels in a PNG with the same tag
    plain = encoded(Image.fromarray(smooth()), "PNG", exif=exif) if kind == "TIFF" else data
    np.testing.assert_array_equal(opened.rgb, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(plain)))))
    assert (opened.width, opened.height) == ((56, 40) if turn < 5 else (40, 56))
    assert opened.notes == ((f"rotated as its EXIF tag says ({turn})",) if turn > 1 else ())


@pytest.mark.parametrize("turn", [0, 9, 4711])
def test_an_exif_turn_that_does_not_exist_turns_nothing(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn

    opened = open_image(encoded(Image.fromarray(picture()), "PNG", exif=exif))

    np.testing.assert_array_equal(opened.rgb, picture())
    assert opened.notes == ()


def test_damaged_exif_data_does_not_cost_the_picture() -> None:
    whole = encoded(Image.fromarray(smooth()), "JPEG", quality=95)
    rubbish = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\x07" * 9
    damaged = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(rubbish) + 2) + rubbish + whole[2:]

    np.testing.assert_array_equal(open_image(damaged).rgb, open_image(whole).rgb)


def test_transparency_is_laid_over_the_stated_colour() -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 0] = 200
    rgba[:, 0, 3], rgba[:, 1, 3], rgba[:, 2, 3] = 255, 0, 51  # opaque, clear, a fifth opaque
    data = encoded(Image.fromarray(rgba), "PNG")

    on_white, on_blue = open_image(data), open_image(data, ImageRules(background=(0, 0, 250)))

    # by hand: 0.2 · 200 + 0.8 · 255 = 244 and 0.8 · 255 = 204; on blue 0.2 · 200 = 40 and 0.8 · 250 = 200
    assert on_white.rgb[0].tolist() == [[200, 0, 0], [255, 255, 255], [244, 204, 204]]
    assert on_blue.rgb[0].tolist() == [[200, 0, 0], [0, 0, 250], [40, 0, 200]]
    assert any("transparency" in note for note in on_white.notes)


@pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="an older Pillow refuses it")
def test_grey_that_is_multiplied_by_its_alpha_is_blended() -> None:
    grey_and_alpha = bytes([0, 0, 40, 128, 128, 128, 200, 255])

    opened = open_image(tiff(grey_and_alpha, t277=2, t338=1))

    assert opened.mode == "La"
    assert opened.rgb[:, :, 0].tolist() == [[255, 167], [255, 200]]


def test_an_opaque_alpha_channel_is_not_worth_a_note() -> None:
    data = encoded(Image.fromarray(picture()).convert("RGBA"), "PNG")

    opened = open_image(data)

    np.testing.assert_array_equal(opened.rgb, picture())
    assert (opened.mode, opened.notes) == ("RGBA", ())


def test_a_palette_with_a_transparent_entry_shows_the_background_there() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1, 0])

    opened = open_image(encoded(image, "PNG", transparency=1), ImageRules(background=(1, 2, 3)))

    assert opened.rgb[0].tolist() == [[10, 20, 30], [1, 2, 3], [10, 20, 30]]


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_images_become_three_equal_channels(mode: str) -> None:
    grey = Image.fromarray(picture()[:, :, 0]).convert(mode)

    rgb = open_image(encoded(grey, "PNG")).rgb

    np.testing.assert_array_equal(rgb, np.repeat(np.asarray(grey.convert("L"))[:, :, None], 3, axis=2))


def test_cmyk_is_shown_as_pillow_shows_it() -> None:
    data = encoded(Image.fromarray(smooth()).convert("CMYK"), "JPEG", quality=95)

    opened = open_image(data)

    assert opened.mode == "CMYK"
    np.testing.assert_array_equal(opened.rgb, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_sixteen_bits_are_divided_by_257_whatever_is_in_the_image() -> None:
    values = np.array([[0, 257, 514, 32896, 65535]], np.uint16)

    bright, dark = open_image(encoded(Image.fromarray(values), "PNG")), values // 2
    dim = open_image(encoded(Image.fromarray(dark), "PNG"))

    assert bright.rgb[0, :, 0].tolist() == [0, 1, 2, 128, 255]
    assert dim.rgb[0, :, 0].tolist() == [round(int(value) / 257) for value in dark[0]]
    assert any("16 bit" in note and "65535" in note for note in bright.notes)


def test_floats_from_zero_to_one_keep_their_scale_and_others_are_stretched() -> None:
    share, wide = np.array([[0.0, 0.25, 0.5]], np.float32), np.array([[-10.0, 0.0, 30.0]], np.float32)

    assert open_image(encoded(Image.fromarray(share), "TIFF")).rgb[0, :, 0].tolist() == [0, 64, 128]  # 127.5 to even
    stretched = open_image(encoded(Image.fromarray(wide), "TIFF"))
    assert stretched.rgb[0, :, 0].tolist() == [0, 64, 255]  # 10 / 40 · 255 = 63.75
    assert any("scaled" in note for note in stretched.notes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_floats_that_are_no_numbers_are_refused(value: float) -> None:
    data = encoded(Image.fromarray(np.array([[0.0, value]], np.float32)), "TIFF")

    assert "finite" in reason(data)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if kind == "WEBP" else {}

    opened = open_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))

    assert np.unique(opened.rgb.reshape(-1, 3), axis=0).tolist() == [[250, 0, 0]]
    assert opened.notes == ("first of 3 frames",)


def test_two_pictures_in_one_jpeg_as_phones_write_them_open_as_the_first() -> None:
    first, second = Image.fromarray(smooth()), Image.new("RGB", (56, 40))
    data = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)

    opened = open_image(data)

    assert (opened.format, opened.notes) == ("MPO", ("first of 2 frames",))
    assert np.abs(opened.rgb.astype(int) - smooth()).mean() < 3


def test_the_content_counts_and_a_wrong_suffix_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(Image.fromarray(picture()), "PNG"))

    opened = open_image(path)

    assert (opened.format, opened.notes) == ("PNG", ("named .jpg, but the content is PNG",))
    np.testing.assert_array_equal(opened.rgb, picture())


def test_a_suffix_in_capitals_is_the_same_suffix(tmp_path: Path) -> None:
    path = tmp_path / "DSC_1.JPG"
    path.write_bytes(encoded(Image.fromarray(smooth()), "JPEG"))

    assert open_image(path).notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_half_an_image_is_no_image(kind: str, share: float) -> None:
    data = encoded(Image.fromarray(picture(80, 80)), kind)

    assert "truncated" in reason(data[: int(share * len(data))])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="without /proc")
def test_a_file_of_the_kernel_is_not_read() -> None:
    """They state no size; reading /proc/kmsg ends with the machine."""
    for name in ("/proc/kmsg", "/proc/self/status"):
        with pytest.raises(BadImage, match=r"empty \(0 bytes\)"):
            open_image(Path(name))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadImage, match="a pipe or a device, not a file"):
        open_image(tmp_path / "pipe.jpg")


def test_files_without_an_image_say_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "letter.jpg").write_text("Dear reader, this is a letter.\n" * 20)
    (tmp_path / "folder.jpg").mkdir()

    assert "0 bytes" in reason(tmp_path / "empty.jpg")
    assert "0 bytes" in reason(b"")
    assert "not an image of a known format" in reason(tmp_path / "letter.jpg")
    assert "cannot be read" in reason(tmp_path / "missing.jpg")
    assert "cannot be read" in reason(tmp_path / "folder.jpg")


def test_a_pixel_bomb_is_refused_by_its_header_alone() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    bomb += png_chunk(b"IEND", b"")

    assert len(bomb) < 200
    assert "60000×60000" in reason(bomb)


def test_the_bound_of_pixels_is_the_rules_and_pillows_own_stays_as_it_was() -> None:
    data, bound = encoded(Image.fromarray(picture(10, 10)), "PNG"), Image.MAX_IMAGE_PIXELS

    assert "100" not in reason(data, ImageRules(max_pixels=99)).replace("10×10", "")
    assert open_image(data, ImageRules(max_pixels=100)).width == 10
    assert bound == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("compression", ["raw", "group4"])
def test_a_tiff_is_bound_by_the_rules_alone_while_it_is_decoded(
    compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.new("1", (190, 100)), "TIFF", compression=compression)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses above twice as many

    assert open_image(data, ImageRules(max_pixels=19_000)).rgb.shape == (100, 190, 3)
    assert "--max-pixels" in reason(data, ImageRules(max_pixels=18_999))
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_images_are_decoded_side_by_side_and_pillows_bound_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    data, both_inside = encoded(Image.fromarray(picture()), "TIFF"), threading.Barrier(2, timeout=30)
    prepare = TiffImagePlugin.TiffImageFile.load_prepare

    def together(image: TiffImagePlugin.TiffImageFile) -> None:
        both_inside.wait()
        prepare(image)

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load_prepare", together)
    bound = Image.MAX_IMAGE_PIXELS
    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(open_image, [data, data]))

    np.testing.assert_array_equal(opened[0].rgb, opened[1].rgb)
    assert bound == Image.MAX_IMAGE_PIXELS


def test_formats_that_run_programs_are_not_opened() -> None:
    # Pillow would hand PostScript to Ghostscript
    assert "not an image of a known format" in reason(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    )


@pytest.mark.parametrize(("name", "colour"), [("white", (255, 255, 255)), ("#ff8800", (255, 136, 0))])
def test_background_colours_have_names(name: str, colour: tuple[int, int, int]) -> None:
    assert ImageRules.named(name, 5) == ImageRules(colour, 5)


def test_a_background_that_is_no_colour_is_the_users_mistake() -> None:
    with pytest.raises(RecipeError, match="whitish"):
        ImageRules.named("whitish", 5)


def test_opening_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(encoded(Image.fromarray(smooth()), "JPEG", exif=exif))
    bad.write_bytes(good.read_bytes()[:300])
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (good, bad)}

    open_image(good)
    reason(bad)

    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (good, bad)} == before
    assert sorted(tmp_path.iterdir()) == [bad, good]


@pytest.mark.parametrize("options", [{"quality": 40}, {"quality": 95, "subsampling": 0}, {"progressive": True}])
@pytest.mark.parametrize("size", [(40, 56), (33, 47), (8, 8), (1, 1)])
def test_both_jpeg_decoders_give_the_same_pixels(
    options: dict[str, object], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    data = encoded(Image.fromarray(picture(*size)), "JPEG", **options)

    fast = open_image(data)
    monkeypatch.setattr(jpeg_pixels, "simplejpeg", None)
    plain = open_image(data)

    np.testing.assert_array_equal(fast.rgb, plain.rgb)
    assert (fast.format, fast.mode, fast.notes) == (plain.format, plain.mode, plain.notes)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["hymenoptera", "rps_photos", "cifar10_sample"])
def test_both_jpeg_decoders_agree_on_real_photographs(
    folder: str, test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    paths = sorted(path for path in (test_data / folder).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[::20]
    assert paths
    fast = [open_image(path).rgb for path in paths]
    monkeypatch.setattr(jpeg_pixels, "simplejpeg", None)

    for path, rgb in zip(paths, fast, strict=True):
        np.testing.assert_array_equal(open_image(path).rgb, rgb, err_msg=path.name)


def victims() -> dict[str, bytes]:
    grey = np.arange(400, dtype=np.uint16).reshape(20, 20) * 150
    frames = [Image.fromarray(smooth(16, 16)), Image.new("RGB", (16, 16))]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    return {
        "jpeg": encoded(Image.fromarray(smooth()), "JPEG", exif=exif),
        "progressive": encoded(Image.fromarray(smooth()), "JPEG", progressive=True),
        "png": encoded(Image.fromarray(picture()), "PNG"),
        "png16": encoded(Image.fromarray(grey), "PNG"),
        "gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "bmp": encoded(Image.fromarray(picture()), "BMP"),
        "webp": encoded(Image.fromarray(smooth()), "WEBP"),
        "tiff": encoded(Image.fromarray(picture()), "TIFF", compression="tiff_lzw"),
        "tiff32": encoded(Image.fromarray(grey.astype(np.float32)), "TIFF"),
        "ppm": encoded(Image.fromarray(picture()), "PPM"),
        "ico": encoded(Image.fromarray(smooth(32, 32)), "ICO"),
        "mpo": encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]),
    }


@pytest.mark.parametrize("kind", sorted(victims()))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damaged_bytes_give_an_image_or_a_reason_and_nothing_else(kind: str) -> None:
    rng, whole = np.random.default_rng(7), victims()[kind]
    rules = ImageRules(max_pixels=4_000_000)
    assert isinstance(open_image(whole, rules), OpenedImage)
    for _ in range(150):
        damaged = bytearray(whole[: int(rng.integers(1, len(whole) + 1)) if rng.random() < 0.4 else len(whole)])
        for place in rng.integers(0, len(damaged), int(rng.integers(1, 9))):
            damaged[place] = rng.integers(256)
        try:
            opened = open_image(bytes(damaged), rules)
        except BadImage as bad:
            assert bad.reason  # noqa: PT017  either outcome is right, a third is not
        else:
            assert opened.rgb.dtype == np.uint8
            assert opened.rgb.shape == (opened.height, opened.width, 3)
            assert opened.rgb.size > 0


def _noise_png(mode: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, len(mode)), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_flipped_byte_in_the_pixels_of_a_png_is_damage_and_never_blamed_on_exif(mode: str) -> None:
    whole = _noise_png(mode)
    first, last = whole.index(b"IDAT") + 4, whole.index(b"IEND") - 4
    for position in np.random.default_rng(1).integers(first, last, 20):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        with pytest.raises(BadImage, match="damaged") as error:
            open_image(bytes(damaged))
        assert "EXIF" not in error.value.reason
    assert not any("EXIF" in note for note in open_image(whole).notes)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_png_that_ends_in_zeros_or_early_is_damaged(mode: str, share: float) -> None:
    whole = _noise_png(mode)
    kept = int(len(whole) * share)
    for damaged in (whole[:kept] + bytes(len(whole) - kept), whole[:kept]):
        with pytest.raises(BadImage, match="damaged"):
            open_image(damaged)
