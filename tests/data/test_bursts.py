"""Bursts: runs of frames are found, camera numbers and class numbers are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from headstart.data.bursts import find_bursts, find_groups, parse_group_by
from headstart.data.image_set import Sample, scan
from headstart.errors import RecipeError


def run(stem: str, numbers: range, form: str = "{stem}-{number:03}.jpg") -> list[str]:
    return [form.format(stem=stem, number=number) for number in numbers]


def bursts_of(names: list[str], label: str = "cat") -> dict[str, int]:
    return dict(Counter(group for group in find_bursts(names, [label] * len(names)) if group is not None))


def loose(count: int) -> list[str]:
    return [f"c/{letter * 5}.jpg" for letter in "qwertzuiopasdfghjklyxcvbnm"[:count]]


@pytest.mark.parametrize(
    "form",
    ["{stem}-{number:03}.jpg", "{stem}_{number}.png", "{stem}.{number:04}.JPG", "{stem} {number}.jpg",
     "{stem} ({number}).jpg", "{stem}[{number}].jpg", "{stem} - {number}.jpg"],
)  # fmt: skip
def test_three_hands_of_dense_frames_are_three_bursts(form: str) -> None:
    names = [name for hand in ("c/hand01", "c/hand02", "c/k-03") for name in run(hand, range(10), form)]

    assert bursts_of(names) == {"c/hand01": 10, "c/hand02": 10, "c/k-03": 10}


def test_every_thirtieth_frame_of_a_film_is_a_burst() -> None:
    names = [*run("c/film1", range(0, 300, 30)), *run("c/film2", range(15, 315, 30)), *loose(5)]

    assert bursts_of(names) == {"c/film1": 10, "c/film2": 10}


@pytest.mark.parametrize(
    ("numbers", "is_burst"),
    [((1, 2), False), ((1, 2, 3), True), ((1, 2, 6), True), ((1, 2, 7), False), ((5, 5, 5), False)],
)
def test_a_burst_has_three_frames_that_span_at_most_twice_their_count(numbers: tuple[int, ...], is_burst: bool) -> None:
    # (5, 5, 5): one frame in three spellings
    names = [f"c/run-{'0' * index}{number}.jpg" for index, number in enumerate(numbers)]

    assert bool(bursts_of([*names, *loose(10)])) is is_burst


@pytest.mark.parametrize("stem", ["IMG", "dsc", "photo", "cat", "Cat"])
def test_a_camera_or_class_number_is_no_burst_even_where_it_is_rare(stem: str) -> None:
    assert bursts_of([*run(f"c/{stem}", range(8), "{stem}_{number:04}.jpg"), *loose(20)]) == {}


def test_a_stem_over_half_of_its_class_is_a_running_number() -> None:
    assert bursts_of([*run("c/holiday", range(11)), *loose(10)]) == {}
    assert bursts_of([*run("c/holiday", range(10)), *loose(10)]) == {"c/holiday": 10}


def test_a_class_of_two_stems_has_no_bursts() -> None:
    assert bursts_of([*run("c/one", range(10)), *run("c/two", range(10))]) == {}


def test_half_of_a_class_is_counted_in_each_split_of_a_table() -> None:
    names = [*run("walk", range(4)), *loose(8), *loose(8)]
    splits = ["test"] * 4 + ["test"] * 3 + ["train"] * 13

    # 4 of 7 in the test; without splits it would be 4 of 20
    assert set(find_bursts(names, ["cat"] * 20, splits)) == {None}
    assert find_bursts(names, ["cat"] * 20)[0] == "walk"


def test_one_camera_over_two_classes_in_one_folder_is_no_burst() -> None:
    names = [f"all/trip_{number:03}.jpg" for number in range(20)]

    assert set(find_bursts(names, ["cat", "dog"] * 10)) == {None}


def test_the_same_stem_in_two_folders_is_two_bursts() -> None:
    names = [*run("a/walk", range(4)), *run("b/walk", range(4)), *loose(9)]

    assert bursts_of(names) == {"a/walk": 4, "b/walk": 4}


def test_bare_numbers_and_hashes_are_no_bursts() -> None:
    names = [
        *(f"c/{number:04}.jpg" for number in range(50)),
        "c/98391118_bdb1e80cce.jpg",
        "c/123-4.jpg",
        "c/ünï 1.jpg",
        "c/-1.jpg",
    ]

    assert bursts_of(names) == {}


@pytest.mark.parametrize(
    ("name", "expected"), [("rps28", 33), ("hymenoptera", 0), ("rps_photos", 0), ("cifar10_sample", 0)]
)
def test_real_sets_have_the_bursts_that_a_person_sees(test_data: Path, name: str, expected: int) -> None:
    samples = scan(test_data / name).samples

    groupings = find_groups(samples, "auto")

    counts = Counter(group for grouping in groupings for group in grouping if group is not None)
    assert len(counts) == expected
    if name == "rps28":  # 7 hands of 120 frames in each of 3 classes to train, 4 of 31 to test, and no image outside
        assert Counter(counts.values()) == {120: 21, 31: 12}
        assert counts["train/rock/rock07-k03"] == 120


def test_group_by_reads_a_pattern_or_the_folder() -> None:
    person = parse_group_by(r"person(\d+)")

    assert (person("cat/person07_1.jpg"), person("cat/other.jpg")) == ("07", None)
    assert parse_group_by("parent")("cat/session 1/a.jpg") == "cat/session 1"
    assert parse_group_by("auto")("c/run-1.jpg") is parse_group_by("none")("c/run-1.jpg") is None
    assert parse_group_by("(a)|b")("b.jpg") is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "unterminated"), ("person[0-9]", "without a capture group"), ("(?:x)", "without"), ("", "without")],
)
def test_a_pattern_that_names_no_group_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_group_by(pattern)


def test_a_tables_groups_count_beside_those_of_the_names() -> None:
    names = [*run("c/walk", range(3)), *loose(4)]
    samples = [Sample(Path(name), name, "cat", group="g" if index > 4 else None) for index, name in enumerate(names)]

    table = (None, None, None, None, None, "g", "g")
    bursts = ("c/walk", "c/walk", "c/walk", None, None, None, None)
    assert find_groups(samples, "auto") == (table, bursts)
    assert find_groups(samples, "none") == (table,)
    assert find_groups(samples, "patient") == (table,), "the column of the table, which has been read"
    assert find_groups(samples, "walk-(.)") == (table, ("0", "0", "0", None, None, None, None))


def test_a_recording_of_the_studio_is_one_burst_however_much_of_a_class_it_is() -> None:
    hold = "hold-20261128-141500-3fa9"
    names = [*run(f"c/{hold}", range(1, 9), "{stem}-{number:04}.jpg"), f"d/{hold}-0011.jpg", "c/other.jpg", "d/x.jpg"]

    found = find_bursts(names, [name[0] for name in names])

    assert found == (*[hold] * 9, None, None)
