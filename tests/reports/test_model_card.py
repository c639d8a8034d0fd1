"""The model card: all sections of the paper, the run's own numbers, nothing that a name can break, licences."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

import headstart as hs
from headstart.evaluation.intervals import Interval, wilson
from headstart.reports.model_card import is_permissive, licence_id, model_card

SECTIONS = """Model details; Intended use; Factors; Metrics; Evaluation data; Training data; Quantitative analyses;
Ethical considerations; Caveats and recommendations"""  # Mitchell et al. 2019, figure 1


def test_it_has_the_sections_of_the_paper_in_order(run: hs.Run) -> None:
    text = model_card(run.evaluation, run.record, name="photos")

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [" ".join(name.split()) for name in SECTIONS.split(";")]


def test_its_numbers_are_those_of_the_run(run: hs.Run) -> None:
    text, evaluation = model_card(run.evaluation, run.record, name="photos"), run.evaluation

    assert str(evaluation.accuracy_over_groups or evaluation.accuracy) in text
    assert all(str(score.recall) in text for score in evaluation.per_class)
    assert f"Of the {run.record['data']['images']} images of the set" in text
    assert run.record["data"]["fingerprint"] in text
    assert run.record["backbone"]["sha256"] in text


def test_the_hub_reads_licence_and_accuracy(run: hs.Run) -> None:
    yaml = pytest.importorskip("yaml")
    _, front, _ = model_card(run.evaluation, run.record, name="photos").split("---\n", 2)

    values = yaml.safe_load(front)

    assert values["license"] == "mit"
    (metric,) = values["model-index"][0]["results"][0]["metrics"]
    assert metric["value"] == run.evaluation.accuracy.value
    assert values["library_name"] == "headstart"


def test_its_accuracy_allows_for_groups_as_the_card_says(run: hs.Run) -> None:
    plain, over = wilson(9, 10), Interval(0.9, 0.45, 0.99, 10, method="Wilson, 10 images in 4 groups count as 4")
    grouped = dataclasses.replace(run.evaluation, accuracy=plain, accuracy_over_groups=over, groups=4)

    text = model_card(grouped, run.record, name="photos")

    assert "all intervals allow for them" in text
    assert f"| Accuracy | {over} |" in text
    assert f"[{over.low:.4f}, {over.high:.4f}]" in text.split("---\n", 2)[1]
    assert str(plain) not in text


def test_names_from_outside_are_text(run: hs.Run) -> None:
    record: dict[str, Any] = json.loads(json.dumps(hs_plain(run)))
    evil = "<script>alert(1)</script>\n# head | `x` [a](http://b) \x1b[31m"
    record["data"]["name"] = record["data"]["protocol"] = evil
    record["data"]["counts"]["train"] = {evil: 3}
    record["findings"] = [{"message": evil}]
    record["backbone"] |= {"source": evil, "name": evil}

    text = model_card(run.evaluation, record, name=evil)

    assert "<script" not in text.split("---\n", 2)[2]
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)\[a\]\(", text.split("---\n", 2)[2])
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


def hs_plain(run: hs.Run) -> Any:
    from headstart.plain import to_plain

    return to_plain(run.record)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT (headstart); distilled from SqueezeNet 1.0 (BSD), see its card", "mit"),
        ("Apache-2.0; trained on ImageNet, whose own terms may apply", "apache-2.0"),
        ("BSD-3-Clause", "bsd-3-clause"),
        ("BSD-2-Clause (akamaster/pytorch_resnet_cifar10)", "bsd-2-clause"),
        ("CC-BY-NC-4.0", "cc-by-nc-4.0"),
        ("CC BY-NC-SA 4.0", "cc-by-nc-sa-4.0"),
        ("CC BY-NC 4.0; another for the code", "other"),
        ("unknown (the weight file states none)", "other"),
        ("apache-2.0, non-commercial", "other"),
        ("unknown (timm states none)", "other"),
        ("not stated", "other"),
        ("Permitted (MITRE)", "other"),
        ("", "other"),
        ("cc-by-nc-4.0; MIT code", "other"),
    ],
)
def test_a_licence_is_permissive_only_where_it_is_known_to_be(licence: str, expected: str) -> None:
    assert licence_id(licence) == expected
    assert is_permissive(licence) == (expected != "other" and "-nc-" not in expected)
