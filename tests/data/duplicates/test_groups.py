"""Copies are found however they were saved; pictures that are merely alike are not called copies."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

from drawn_scenes import cropped, mirrored, resized, sample, save, scene
from headstart.data.duplicates.candidates import crop_between, find_candidates, flip, hashes
from headstart.data.duplicates.groups import exact_duplicates, find_duplicates
from headstart.data.duplicates.verify import compare, reduce_image
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
    "mirrored": (mirrored, "png", {}),
    "cropped at one corner": (cropped(0.1, 0.08, 0, 0), "png", {}),
    "cropped all around": (cropped(0.04, 0.05, 0.06, 0.03), "png", {}),
    "darker": (lambda image: image.point(lambda value: 0.92 * value - 6), "png", {}),
    "half the size, JPEG 60": (resized(0.5), "jpg", {"quality": 60}),
    "mirrored, JPEG 50": (mirrored, "jpg", {"quality": 50}),
    "cropped, mirrored, smaller, JPEG 80": (
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


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For each kind, what its copy was found to be a copy of; each copy has a scene of its own."""
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
def test_a_planted_copy_stands_with_its_source_alone(kind: str, planted: dict[str, str]) -> None:
    assert planted[kind] == f"scene{list(KINDS).index(kind)}"


def test_exact_copies_are_told_by_decoded_pixels_whatever_the_file(tmp_path: Path) -> None:
    image = scene(1)
    paths = [save(tmp_path / f"a.{suffix}", image) for suffix in ("png", "bmp", "tiff")]
    paths += [save(tmp_path / "b.png", scene(2)), save(tmp_path / "c.jpg", image)]
    index = ImageIndex(tmp_path / "index")

    facts = index.facts([sample(path) for path in paths])

    assert len({fact.content for fact in facts}) == 5
    assert exact_duplicates(facts) == ((0, 1, 2),)


def test_one_picture_in_one_row_is_not_the_same_as_in_one_column() -> None:
    """Equal bytes of pixels, other width and height."""
    flat = np.arange(48 * 12 * 3, dtype=np.uint32).astype(np.uint8)
    pictures = [flat.reshape(12, 48, 3), flat.reshape(48, 12, 3)]
    facts = [read_facts("", encoded(picture), ImageRules()) for picture in pictures]
    assert exact_duplicates(facts) == ()
    assert exact_duplicates([facts[0], *facts]) == ((0, 1),)


@pytest.mark.parametrize("size", [(28, 28), (64, 64), (160, 120)])
def test_squares_that_differ_in_colour_alone_are_no_copies(size: tuple[int, int]) -> None:
    pictures = []
    for colour in ((220, 60, 60), (60, 160, 60), (70, 70, 230), (120, 120, 120)):
        picture = np.full((size[1], size[0], 3), 255, dtype=np.uint8)
        picture[size[1] // 4 : -size[1] // 4, size[0] // 4 : -size[0] // 4] = colour
        pictures.append(picture)
    assert groups_of(pictures) == ()


def test_flat_pictures_are_never_near_copies_of_each_other() -> None:
    assert groups_of([np.full((40, 40, 3), value, dtype=np.uint8) for value in (0, 1, 128, 254, 255)]) == ()


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


def test_different_scenes_are_not_even_proposed() -> None:
    thumbnails = np.stack(
        [np.frombuffer(signature_of(pixels(scene(seed))), np.uint8).reshape(32, 32) for seed in range(60)]
    )
    assert len(find_candidates(thumbnails).pairs) == 0


def test_a_slow_film_does_not_become_one_group() -> None:
    """Thirty frames of a picture that slides by half a pixel: each is like its neighbour, the ends are not alike."""
    wide = pixels(scene(5, (220, 120))).astype(np.float64)
    y, x = np.mgrid[:120, :160]
    frames = [
        np.stack([map_coordinates(wide[..., c], [y, x + 0.5 * k], order=1) for c in range(3)], -1)
        .round()
        .astype(np.uint8)
        for k in range(30)
    ]
    assert max(map(len, groups_of(frames)), default=1) <= 4


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


def test_all_copies_of_one_picture_make_one_group() -> None:
    image = scene(3)
    copies = [image, mirrored(image), resized(0.5)(image), resized(1.5)(image), cropped(0.03, 0, 0.03, 0)(image), image]
    assert groups_of([pixels(scene(9)), *map(pixels, copies)]) == ((1, 2, 3, 4, 5, 6),)


def test_an_unreadable_image_and_one_that_has_gone_since_are_left_out() -> None:
    pictures = [pixels(scene(0)), pixels(scene(0)), pixels(resized(0.5)(scene(0))), pixels(scene(1))]
    facts = [*facts_of(pictures), ImageFacts("x", error="truncated"), ImageFacts("y", error="truncated")]

    def read(i: int) -> Pixels:
        if i == 2:
            raise BadImage("gone")
        return pictures[i]

    assert find_duplicates(facts, read) == ((0, 1),)
    assert find_duplicates([], read) == find_duplicates(facts[4:], read) == ()


def test_progress_counts_the_compared_pairs() -> None:
    pictures = [pixels(scene(0)), pixels(resized(0.5)(scene(0))), pixels(scene(1)), pixels(mirrored(scene(1)))]
    told: list[tuple[int, int]] = []

    find_duplicates(facts_of(pictures), lambda i: pictures[i], progress=lambda done, total: told.append((done, total)))

    assert told[-1][0] == told[-1][1] == len(told) >= 2


def test_mirroring_a_hash_is_hashing_the_mirror_image() -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (5, 32, 32), np.uint8)
    np.testing.assert_allclose(flip(hashes(thumbnails)), hashes(thumbnails[:, :, ::-1]), atol=1e-5)


def test_a_hash_is_the_cosine_transform_weighted_by_frequency() -> None:
    """Against scipy's transform, coefficient by coefficient."""
    from scipy.fft import dctn

    thumbnail = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    table = dctn(thumbnail.astype(np.float64), type=2)
    kept = [(v, u) for v in range(7) for u in range(7) if 0 < np.hypot(u, v) < 7]
    expected = np.array([table[v, u] * np.hypot(u, v) for v, u in kept])

    np.testing.assert_allclose(hashes(thumbnail[None])[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_the_crop_between_two_thumbnails_is_the_one_that_was_cut() -> None:
    image = scene(4, (320, 320))
    part = image.crop((16, 8, 304, 316))  # 5 %, 95 %, 2.5 %, 98.75 %
    one, two = (np.frombuffer(signature_of(pixels(i)), np.uint8).reshape(32, 32) for i in (image, part))

    crop = crop_between(one, two, flipped=False)

    assert crop is not None
    np.testing.assert_allclose(crop, [0.05, 0.95, 0.025, 0.9875], atol=0.004)


def test_planted_pairs_are_proposed_among_two_thousand_without_looking_at_all_pairs() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(2_000, 6, 6)).astype(np.float32)
    thumbnails = np.stack(
        [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC)) for one in coarse]
    )
    grey = (128 + 40 * thumbnails).clip(0, 255).astype(np.uint8)
    grey[1000:1100] = (grey[:100] + rng.normal(0, 3, (100, 32, 32))).clip(0, 255).astype(np.uint8)

    pairs = {tuple(pair) for pair in find_candidates(grey).pairs.tolist()}

    assert sum((i, 1000 + i) in pairs for i in range(100)) == 100
    assert len(pairs) < 20_000  # of 2 million


def test_too_small_pictures_are_undecided() -> None:
    tiny = reduce_image(np.zeros((12, 40, 3), dtype=np.uint8))
    verdict = compare(tiny, tiny, np.array([0.0, 1, 0, 1]), flipped=False)
    assert (verdict.same, verdict.undecided) == (False, True)


def test_two_crops_of_one_picture_are_undecided_and_other_pictures_are_not() -> None:
    image = scene(6, (300, 300))
    left, right = (reduce_image(pixels(image.crop(box))) for box in ((0, 0, 282, 300), (18, 0, 300, 300)))
    shift = 18 / 282  # the second begins so much further right

    verdict = compare(left, right, np.array([shift, 1 + shift, 0, 1]), flipped=False)
    other = compare(left, reduce_image(pixels(scene(7, (282, 300)))), np.array([shift, 1 + shift, 0, 1]), flipped=False)

    assert (verdict.same, verdict.undecided) == (False, True)
    assert (other.same, other.undecided) == (False, False)


def test_a_wrong_hint_of_mirroring_does_not_confirm() -> None:
    one = reduce_image(pixels(scene(8)))
    whole = np.array([0.0, 1, 0, 1])
    assert not compare(one, one, whole, flipped=True).same
    assert compare(one, one.flipped(), whole, flipped=True).same
    assert compare(one, one, whole, flipped=False).residual < 1e-5


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
    for group in groups:  # what is called a copy differs by less than one grey level
        for a, b in combinations(group, 2):
            assert np.abs(pictures[a].astype(int) - pictures[b]).mean() < 1
