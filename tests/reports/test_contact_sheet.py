"""The contact sheet: which images are chosen; tests/workbench/test_show.py reads the page."""

from __future__ import annotations

from headstart.reports.contact_sheet import MOST_IMAGES, PER_CLASS, choose, shown_per_class

NAMES = [f"{i:03}.jpg" for i in range(100)]


def test_a_small_class_is_shown_whole_and_a_large_one_evenly() -> None:
    assert choose(NAMES[:5], {}, 5) == NAMES[:5]

    chosen = choose(NAMES, {}, 5)

    assert [NAMES.index(name) for name in chosen] == [0, 25, 50, 74, 99]


def test_flagged_images_take_up_to_half_of_the_places() -> None:
    flagged = dict.fromkeys(NAMES[40:80], "leak")

    chosen = choose(NAMES, flagged, 10)

    assert len(chosen) == 10
    assert chosen == sorted(chosen)
    assert set(NAMES[40:45]) <= set(chosen)
    assert len(set(chosen)) == 10


def test_one_place_is_for_a_flagged_image() -> None:
    assert choose(NAMES, {NAMES[7]: ""}, 1) == [NAMES[7]]


def test_the_page_is_bounded_whatever_the_number_of_classes() -> None:
    assert shown_per_class(3) == PER_CLASS
    assert shown_per_class(0) == PER_CLASS
    for classes in (30, 100, MOST_IMAGES):
        assert classes * shown_per_class(classes) <= MOST_IMAGES
    assert shown_per_class(5000) == 1
