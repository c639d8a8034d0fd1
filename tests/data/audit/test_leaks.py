"""Duplicates in training and outside it are reported; duplicates within one split are not leaks."""

from __future__ import annotations

from audited_images import images, samples
from headstart.data.audit.leaks import check_leaks

ROWS = samples(("train/a/0", "train"), ("validation/a/1", "validation"), ("test/a/2", "test"), ("test/a/3", "test"))


def test_validation_leaks_too_and_duplicates_in_the_test_alone_do_not() -> None:
    (finding,) = check_leaks(images(ROWS, duplicates=[(0, 1), (2, 3)]))

    assert (finding.kind, finding.severity) == ("leak", "problem")
    assert finding.groups == (("train/a/0", "validation/a/1"),)
    assert finding.message.startswith("1 image outside training (1 in validation) has a duplicate in training")


def test_leaks_of_several_splits_are_counted_apart() -> None:
    (finding,) = check_leaks(images(ROWS, duplicates=[(0, 1, 2, 3)]))

    assert "3 images outside training (1 in validation and 2 in test) have a duplicate" in finding.message


def test_a_data_set_without_splits_has_no_leaks() -> None:
    assert check_leaks(images(duplicates=[(0, 1)])) == []
