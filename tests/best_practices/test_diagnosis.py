"""The diagnosis as text and as plain values."""

from __future__ import annotations

import json

from torch import nn

from headstart.best_practices.diagnosis import Diagnosis, Unchecked
from headstart.best_practices.doctor import doctor
from headstart.best_practices.rule import SEVERITIES, DoctorFinding


def test_the_diagnosis_is_plain_values_and_text_with_the_worst_first():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.99), nn.ReLU())
    network[0].weight.data[0] = float("inf")
    diagnosis = doctor(network)
    kinds = [finding.severity for finding in diagnosis.findings]
    assert diagnosis.worst == "error"
    assert kinds == sorted(kinds, key=SEVERITIES.index)
    values = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert values["findings"][0]["place"] == "0.weight"
    text = str(diagnosis)
    assert text.startswith("Sequential: 1 error, 1 warning, 2 advice; ")
    assert "error: non-finite weights at 0.weight\n  found: tensors with nan or infinity: 1" in text
    assert "needs the optimiser: parameters missing from the optimiser" in text
    assert max(map(len, text.splitlines()[1:])) <= 80  # the first is one sentence


def test_no_findings_have_no_worst_severity():
    diagnosis = doctor(nn.Linear(3, 2))
    assert diagnosis.worst == ""
    assert diagnosis.findings == ()
    assert "no findings" in diagnosis.summary


def test_names_from_outside_are_escaped_and_reasons_are_grouped():
    finding = DoctorFinding(
        "rule", "advice", places=("a\x1b[31m",), found="x\x07 5\u00a0%", why="w", source="", fix="f"
    )
    unchecked = (Unchecked("one", "needs images"), Unchecked("two", "needs images"))
    text = str(Diagnosis("net\x1b", (finding,), (), not_checked=unchecked, not_applicable=()))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "5\u00a0%" in text
    assert "why: w\n" in text
    assert "needs images: one, two" in text
    assert text.startswith("net\\x1b: 1 advice; 0 rules passed, 2 not checked")


def test_many_places_are_counted():
    finding = DoctorFinding("r", "error", places=tuple("abcde"), found="", why="", source="", fix="")
    assert finding.place == "a, b, c and 2 more"
