"""Duplicates under two labels are a problem."""

from __future__ import annotations

from audited_images import images
from headstart.data.audit.two_labels import check_two_labels


def test_duplicates_with_two_labels_are_a_problem_and_those_with_one_are_not() -> None:
    (finding,) = check_two_labels(images(duplicates=[(0, 1), (2, 4)]))

    assert (finding.kind, finding.severity, finding.detail) == ("two-labels", "problem", {"count": 1})
    assert finding.groups == (("a/0.png", "b/1.png"),)
    assert check_two_labels(images(duplicates=[(2, 4)])) == []
