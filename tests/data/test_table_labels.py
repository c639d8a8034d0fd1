"""Labels that seem to be several, and numbers in two spellings; names that only have spaces are left alone."""

from __future__ import annotations

import pytest

from headstart.data.table_labels import check_labels


def kinds(*labels: str) -> list[str]:
    return [finding.kind for finding in check_labels({label: [i] for i, label in enumerate(labels, start=2)})]


@pytest.mark.parametrize(
    "labels",
    [
        ("round|small", "round|big", "square|big"),
        ("cat;dog", "cat", "dog"),
        ("cat,dog", "cat", "dog"),
        ("cat, dog", "cat", "dog"),
        ("cat dog", "cat", "dog"),
        ("cat/dog", "cat", "dog"),
        ("cat+dog", "cat", "dog"),
        ("cat & dog", "cat", "dog"),
        ("cat,dog", "dog,bird", "bird,cat"),
        ("scab rust complex", "scab", "rust", "complex", "healthy"),
        ("['cat', 'dog']", "['cat']"),
        ('["cat"]', "x"),
        ("('cat', 'dog')", "x"),
        ("cat，dog", "cat", "dog"),
        ("cat、dog", "cat", "dog"),
        ("cat；dog", "cat"),
        ("cat｜dog", "cat"),
        ("cat\tdog", "cat"),
        ("cat\ndog", "cat", "dog"),
        ("cat:dog", "cat", "dog"),
        ("cat and dog", "cat", "dog"),
        ("Katze und Hund", "Katze", "Hund"),
        ("0 1 0", "1 0 0"),
        ("16 0", "7 1 2 0"),
    ],
)
def test_labels_that_look_like_several_stop(labels: tuple[str, ...]) -> None:
    assert kinds(*labels) == ["several-labels"]


@pytest.mark.parametrize(
    "labels",
    [
        ("cat", "dog"),
        ("hot dog", "dog"),
        ("red apple", "green apple", "apple"),
        ("Washington, DC", "Paris, France"),
        ("w/o", "b"),
        ("cat_dog", "cat", "dog"),
        ("R&D", "sales"),
        ("apple (red)", "apple"),
        ("C++", "C"),
        ("black and white", "grey"),
        ("blue-green", "blue", "green"),
        ("10 000", "20 000"),
        ("big\ncat", "dog"),
        ("1 euro", "2 euro"),
        ("a|", "b"),
        ("", "cat"),
    ],
)
def test_names_with_spaces_and_signs_do_not(labels: tuple[str, ...]) -> None:
    assert kinds(*labels) == []


@pytest.mark.parametrize("labels", [("0", "0.0"), ("1", "01"), ("1", "1.0", "cat"), ("1e1", "10"), ("-0", "0")])
def test_one_number_in_two_spellings_stops(labels: tuple[str, ...]) -> None:
    assert kinds(*labels) == ["two-spellings"]


@pytest.mark.parametrize("labels", [("0", "1"), ("0.5", "5"), ("infinity", "inf"), ("1", "one")])
def test_other_numbers_do_not(labels: tuple[str, ...]) -> None:
    assert kinds(*labels) == []


@pytest.mark.parametrize("label", ["NaN", "nan", "N/A", "#N/A", "None", "null"])
def test_what_programs_write_for_an_empty_cell_is_a_class_with_a_warning(label: str) -> None:
    (finding,) = check_labels({"cat": [2, 5], label: [3, 9]})

    assert (finding.kind, finding.severity, finding.stops_training) == ("missing-labels", "warning", False)
    assert finding.message.startswith(f"{label!r} (line 3, 9) is a class here.")


def test_a_class_that_people_call_none_is_left_alone() -> None:
    assert kinds("none", "scratch", "dent") == []


def test_the_error_names_labels_and_lines() -> None:
    (finding,) = check_labels({"cat": [2, 5], "dog": [3], "cat|dog": [4, 6]})

    assert finding.message.startswith("Expected one label for each image, found 'cat|dog' in line 4.")
    assert (finding.detail["labels"], finding.detail["lines"]) == (["cat|dog"], [4, 6])
