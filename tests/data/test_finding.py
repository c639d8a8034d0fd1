"""A finding is plain JSON, with a known severity."""

from __future__ import annotations

import json

import pytest

from headstart.data.finding import Finding
from headstart.errors import DataError


def test_a_finding_is_json_by_its_fields() -> None:
    finding = Finding("leak", "problem", "Two.", ("a", "b"), (("a", "b"),), {"count": 1})

    assert json.loads(json.dumps(finding.to_dict())) == {
        "kind": "leak",
        "severity": "problem",
        "message": "Two.",
        "names": ["a", "b"],
        "groups": [["a", "b"]],
        "detail": {"count": 1},
    }


def test_an_unknown_severity_is_refused() -> None:
    with pytest.raises(DataError, match="severity note or warning or problem, found 'error'"):
        Finding("leak", "error", "Two.")
