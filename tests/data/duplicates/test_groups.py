"""Duplicates are found however they were saved; pictures that are only similar are not called duplicates."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from drawn_scenes import cropped, mirrored, pixels, resized, sample, save, scene
from headstart.data.duplicates.groups import exact_duplicates, find_duplicates
from headstart.data.image_index import ImageFacts, ImageIndex, read_facts, signature_of
from headstart.data.images import BadImage, ImageRules, open_image

Pixels = NDArray[np.uint8]
KINDS: dict[str, tuple[Callable[[Image.Image], Image.Image], str, dict[str, object]]] = {
    "the same pixels as BMP": (lambda image: image, "bmp", {}),
    "WebP": (lambda image: image, "webp", {"quality": 80}),
    "JPEG 90": (lambda image: image, "jpg", {"quality": 90}),
    "JPEG 60": (lambda image: image, "jpg", {"quality": 60}),
    "JPEG 30": (lambda image: image, "jpg", {"quality": 30}),
    "half the size": (resized(0.5), "png", {}),
    "three quarters of the size": (resized(0.75), "png", {}),
    "twice the size": (resized(2), "png", {}),
    "stretched to a square": (lambda image: image.resize((128, 128)), "png", {}),
    "flipped": (mirrored, "png", {}),
    "cropped at one corner": (cropped(0.1, 0.08, 0, 0), "png", {}),
    "cropped all around": (cropped(0.04, 0.05, 0.06, 0.03), "png", {}),
    "darker": (lambda image: image.point(lambda value: 0.92 * value - 6), "png", {}),
    "half the size, JPEG 60": (resized(0.5), "jpg", {"quality": 60}),
    "flipped, JPEG 50": (mirrored, "jpg", {"quality": 50}),
    "cropped, flipped, smaller, JPEG 80": (
        lambda image: resized(0.75)(mirrored(cropped(0.02, 0.03, 0.05, 0.04)(image))),
        "jpg",
        {"quality": 80},
    ),
}


def facts_of(pictures: Sequence[Pixels]) -> list[ImageFacts]:
    return [ImageFacts(str(i), str(hash(p.tobytes())), *p.shape[1::-1], signature=signature_of(p))
            for i, p in enumerate(pictures)]  # fmt: skip


def encoded(picture: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def groups_of(pictures: Sequence[Pixels]) -> tuple[tuple[int, ...], ...]:
    return find_duplicates(facts_of(pictures), lambda i: pictures[i])


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For each kind, what its duplicate was found to be a duplicate of; each has a scene of its own."""
    folder, paths = tmp_path_factory.mktemp("planted"), []
    for seed in range(len(KINDS) + 10):
        paths.append(save(folder / f"scene{seed}.png", scene(seed)))
    for seed, (change, suffix, options) in enumerate(KINDS.values()):
        paths.append(save(folder / f"copy{seed}.{suffix}", change(scene(seed)), **options))
    index = ImageIndex(folder / "index")
    found = find_duplicates(index.facts([sample(path) for path in paths]), lambda i: open_image(paths[i]).rgb)
    index.close()
    stems = {paths[i].stem: "+".join(paths[j].stem for j in group if j != i) for group in found for i in group}
    return {kind: stems.get(f"copy{seed}", "nothing") for seed, kind in enumerate(KINDS)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_duplicate_is_grouped_with_its_source_alone(kind: str, planted: dict[str, str]) -> None:
    assert planted[kind] == f"scene{list(KINDS).index(kind)}"


def test_exact_duplicates_have_equal_pixels_whatever_the_file(tmp_path: Path) -> None:
    image = scene(1)
    paths = [save(tmp_path / f"a.{suffix}", image) for suffix in ("png", "bmp", "tiff")]
    paths += [save(tmp_path / "b.png", scene(2)), save(tmp_path / "c.jpg", image)]
    index = ImageIndex(tmp_path / "index")

    facts = index.facts([sample(path) for path in paths])

    assert len({fact.content for fact in facts}) == 5
    assert exact_duplicates(facts) == ((0, 1, 2),)


def test_equal_bytes_of_another_shape_are_not_duplicates() -> None:
    """Equal bytes of pixels, other width and height."""
    flat = np.arange(48 * 12 * 3, dtype=np.uint32).astype(np.uint8)
    pictures = [flat.reshape(12, 48, 3), flat.reshape(48, 12, 3)]
    facts = [read_facts("", encoded(picture), ImageRules()) for picture in pictures]
    assert exact_duplicates(facts) == ()
    assert exact_duplicates([facts[0], *facts]) == ((0, 1),)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (160, 120)])
def test_squares_that_differ_in_colour_alone_are_not_duplicates(size: tuple[int, int]) -> None:
    pictures = []
    for colour in ((220, 60, 60), (60, 160, 60), (70, 70, 230), (120, 120, 120)):
        picture = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
        picture[size[1] // 4 : -size[1] // 4, size[0] // 4 : -size[0] // 4] = colour
        pictures.append(picture)
    assert groups_of(pictures) == ()


def test_flat_pictures_are_never_near_duplicates() -> None:
    assert groups_of([np.full((40, 40, 3), value, dtype=np.uint8) for value in (0, 1, 128, 254, 255)]) == ()


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 2.0, 4.0])
def test_something_that_moved_makes_another_picture(shift: float) -> None:
    """The middle of each scene moves by so many of 120 pixels, as between two frames of a film."""
    pictures = []
    for seed in range(8):
        before = pixels(scene(seed)).astype(np.float64)
        y, x = np.mgrid[: before.shape[0], : before.shape[1]]
        weight = np.clip((0.35 - np.hypot(y / before.shape[0] - 0.5, x / before.shape[1] - 0.5)) / 0.1, 0, 1)
        moved = [
            map_coordinates(before[..., c], [y + 0.3 * shift * weight, x + shift * weight], order=1) for c in range(3)
        ]
        pictures += [before.astype(np.uint8), np.stack(moved, axis=-1).round().astype(np.uint8)]
    assert groups_of(pictures) == ()


@pytest.mark.slow
def test_two_crops_of_a_picture_that_is_not_there_are_grouped_and_neighbouring_slices_are_not() -> None:
    """Slices of drawn bodies: each comes as two crops that are stretched, none of which lies within the other."""
    rng = np.random.default_rng(0)
    slices = [one for seed in range(4) for one in body(seed)]
    planted = []
    for one in slices:
        for _ in range(2):
            width, height = rng.integers(116, 128, 2)
            left, top = rng.integers(0, 129 - width), rng.integers(0, 129 - height)
            part = Image.fromarray(one).crop((left, top, left + width, top + height))
            planted.append(pixels(part.resize((112, 112), Image.Resampling.BILINEAR)))

    assert groups_of(slices) == ()
    found = groups_of(planted)
    assert set(found) <= {(2 * k, 2 * k + 1) for k in range(len(slices))}
    assert len(found) >= 0.9 * len(slices)


def body(seed: int) -> list[NDArray[np.uint8]]:
    """Eight slices through ellipsoids in an ellipse, with noise: 128×128×3 each, neighbours alike but not the same."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[0:16:2, :128, :128].astype(np.float32)
    inside = np.zeros(z.shape, np.float32)
    for _ in range(60):
        (cz, cy, cx), radii = rng.uniform((0, 20, 20), (16, 108, 108)), rng.uniform(4, 25, 3)
        part = ((z - cz) / radii[0]) ** 2 + ((y - cy) / radii[1]) ** 2 + ((x - cx) / radii[2]) ** 2 < 1
        inside += rng.uniform(-60, 60) * part
    shown = np.where(((y - 64) / 58) ** 2 + ((x - 64) / 50) ** 2 < 1, 110 + gaussian_filter(inside, (0.5, 1, 1)), 4)
    grey = (shown + rng.normal(0, 2, shown.shape)).clip(0, 255).astype(np.uint8)
    return [np.repeat(one[..., None], 3, axis=2) for one in grey]


@pytest.mark.slow
def test_a_slow_film_does_not_become_one_group() -> None:
    """A camera that turns by a pixel a frame over 60 of 160: what is grouped shows three quarters of one picture."""
    wide = pixels(scene(5, (220, 120)))
    frames = [np.ascontiguousarray(wide[:, k : k + 160]) for k in range(60)]
    assert max((max(group) - min(group) for group in groups_of(frames)), default=0) <= 40


@pytest.mark.slow
def test_groups_do_not_depend_on_the_order_of_the_images() -> None:
    pictures = [pixels(scene(seed)) for seed in range(12)]
    pictures += [
        pixels(mirrored(scene(0))),
        pixels(resized(0.5)(scene(1))),
        pixels(scene(2)),
        pixels(cropped(0.05, 0, 0, 0.06)(scene(3))),
    ]
    expected = {frozenset(group) for group in groups_of(pictures)}
    assert expected == {frozenset(pair) for pair in ((0, 12), (1, 13), (2, 14), (3, 15))}

    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(pictures))
        found = groups_of([pictures[i] for i in order])
        assert {frozenset(int(order[i]) for i in group) for group in found} == expected


def test_all_duplicates_of_one_picture_make_one_group() -> None:
    image = scene(3)
    duplicates = [
        image,
        mirrored(image),
        resized(0.5)(image),
        resized(1.5)(image),
        cropped(0.03, 0, 0.03, 0)(image),
        image,
    ]
    assert groups_of([pixels(scene(9)), *map(pixels, duplicates)]) == ((1, 2, 3, 4, 5, 6),)


def test_an_unreadable_image_and_one_that_has_gone_since_are_left_out() -> None:
    pictures = [pixels(scene(0)), pixels(scene(0)), pixels(resized(0.5)(scene(0))), pixels(scene(1))]
    facts = [*facts_of(pictures), ImageFacts("x", error="truncated"), ImageFacts("y", error="truncated")]

    def read(i: int) -> Pixels:
        if i == 2:
            raise BadImage("gone")
        return pictures[i]

    assert find_duplicates(facts, read) == ((0, 1),)
    assert find_duplicates([], read) == find_duplicates(facts[4:], read) == ()


def test_progress_counts_searches_and_then_the_compared_pairs() -> None:
    pictures = [pixels(scene(0)), pixels(resized(0.5)(scene(0))), pixels(scene(1)), pixels(mirrored(scene(1)))]
    calls: dict[str, list[tuple[int, int]]] = {}

    def progress(step: str, unit: str) -> Callable[[int, int], None]:
        return lambda done, total: calls.setdefault(f"{step} ({unit})", []).append((done, total))

    find_duplicates(facts_of(pictures), lambda i: pictures[i], progress=progress)

    assert list(calls) == ["search likely duplicates (searches)", "compare likely duplicates (pairs)"]
    for reported in calls.values():
        assert reported[-1][0] == reported[-1][1] == len(reported) >= 2


@pytest.mark.slow
def test_film_frames_of_real_rendered_hands_are_not_merged(test_data: Path) -> None:
    """A 64-bit hash at its usual threshold merges 95 % of them."""
    paths = [
        p
        for name in ("paper01", "rock02", "scissors01", "testscissors01")
        for p in (test_data / "rps28").rglob(f"{name}-*.png")
    ]
    pictures = [open_image(path).rgb for path in sorted(paths)]

    groups = groups_of(pictures)

    assert len(pictures) > 450
    assert sum(map(len, groups)) <= 0.01 * len(pictures)
    for group in groups:  # what is called a duplicate differs by less than one grey level
        for a, b in combinations(group, 2):
            assert np.abs(pictures[a].astype(int) - pictures[b]).mean() < 1
