"""Imbalanced and small classes, counted from readable training images."""

from __future__ import annotations

import pytest

from audited_images import balanced, by_kind, images, ordinary, samples
from headstart.data.audit.class_balance import check_class_balance
from headstart.data.finding import Finding
from headstart.data.image_index import ImageFacts


def found(counts: dict[str, int]) -> dict[str, Finding]:
    rows = samples(*((f"{label}/{i}", None) for label, count in counts.items() for i in range(count)))
    return by_kind(check_class_balance(images(rows, classes=tuple(counts))))


@pytest.mark.parametrize("counts", [(30, 30), (30, 10)])
def test_up_to_three_to_one_is_balanced(counts: tuple[int, int]) -> None:
    assert "imbalance" not in found(dict(zip("ab", counts, strict=True)))


@pytest.mark.parametrize(("counts", "severity"), [((31, 10), "note"), ((100, 10), "note"), ((101, 10), "warning")])
def test_imbalance_is_noted_from_three_to_one_and_a_warning_from_ten_to_one(
    counts: tuple[int, int], severity: str
) -> None:
    finding = found(dict(zip("ab", counts, strict=True)))["imbalance"]

    assert finding.severity == severity
    assert finding.detail["counts"] == dict(zip("ab", counts, strict=True))


def test_ten_images_of_a_class_are_enough() -> None:
    assert "small-class" not in found({"a": 12, "rare": 10})


@pytest.mark.parametrize(("count", "severity"), [(9, "warning"), (2, "warning"), (1, "problem")])
def test_a_class_that_is_too_small_is_named(count: int, severity: str) -> None:
    finding = found({"a": 12, "rare": count})["small-class"]

    assert finding.severity == severity
    assert finding.detail["counts"] == {"rare": count}
    assert f"fewer than 10 images: 'rare' ({count})." in finding.message  # not yet split: test images are among them


def test_where_the_split_is_given_training_images_are_said() -> None:
    rows = samples(*((f"train/{label}/{i}", "train") for label, count in (("a", 12), ("b", 3)) for i in range(count)))
    (finding,) = (one for one in check_class_balance(images(rows)) if one.kind == "small-class")
    assert "fewer than 10 training images: 'b' (3)." in finding.message


def test_a_class_whose_images_are_all_unreadable_is_too_small() -> None:
    facts = ordinary(40)
    facts[1::2] = [ImageFacts(f"c{i}", error="truncated") for i in range(1, 40, 2)]
    assert by_kind(check_class_balance(images(facts=facts)))["small-class"].detail["counts"] == {"b": 0}


def test_a_listed_class_without_any_image_is_not_counted() -> None:
    assert check_class_balance(images(classes=("a", "listed", "b"))) == []


def test_only_readable_training_images_count_for_the_size_of_a_class() -> None:
    training = ((f"train/{'ab'[i % 2]}/{i}", "train") for i in range(24))
    rows = samples(*training, *((f"test/a/{i}", "test") for i in range(50)))
    facts = ordinary(74)
    for i in (0, 2, 4):
        facts[i] = ImageFacts(f"c{i}", error="truncated")

    kinds = by_kind(check_class_balance(images(rows, facts)))

    assert kinds["small-class"].detail["counts"] == {"a": 9}
    assert "imbalance" not in kinds


def test_a_test_split_alone_has_no_training_images_to_count() -> None:
    """As when a classifier is evaluated on somebody's test images: nothing is learned from them."""
    assert check_class_balance(images(balanced(40, "test"))) == []


def test_images_of_no_class_are_not_compared() -> None:
    """A table whose columns cannot be read has images and no class; what is wrong is a finding of the scan."""
    rows = samples(*((f"a/{i}", None) for i in range(3)))
    assert check_class_balance(images(rows, classes=())) == []
