"""Rules about the card: a network that breaks each, one that does not, and how bad each finding is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flawed_networks import (
    Example,
    RuleExamples,
    carded,
    embedded,
    findings,
    noise,
    small,
)
from headstart.backbones.backbone import load_backbone
from headstart.best_practices import card
from headstart.best_practices.doctor import doctor
from headstart.classifier.classifier import Classifier

EXAMPLES: dict[str, Example] = {
    "preprocessing differs from the spec": Example(
        lambda: (embedded(mean=(0.5, 0.5, 0.5)), {}), "warning", (), lambda: (embedded(), {})
    ),
    "images do not match the card": Example(
        lambda: (embedded(), {"images": carded() * 255}), "error", (), lambda: (embedded(), {"images": carded()})
    ),
}


class TestExamples(RuleExamples):
    file, examples = card, EXAMPLES
    elsewhere = frozenset({"outdated classifier file"})  # below


@pytest.mark.slow
def test_images_that_were_not_normalised_or_of_another_size_are_found():
    reported = findings(
        doctor(load_backbone("embedded"), images=torch.rand(4, 3, 104, 104)), "images do not match the card"
    )
    assert "not normalised" in reported["warning"]
    sides = findings(doctor(load_backbone("embedded"), images=noise(4, 3, 64, 64) / 4), "images do not match the card")
    assert "64×64 px; the card says 104" in sides["warning"]


def test_images_are_compared_with_the_configuration_of_timm():
    network = small()
    network.pretrained_cfg = {"input_size": (3, 64, 64), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    reported = findings(doctor(network, images=noise(2, 3, 64, 64).abs() * 100), "images do not match the card")
    assert list(reported) == ["error"]
    reasons = {one.rule: one.reason for one in doctor(small(), images=noise(2, 3, 8, 8)).not_checked}
    assert "needs a card" in reasons["images do not match the card"]


def resaved(classifier: Classifier, path: Path, drop: str) -> Path:
    """The classifier's file as if written before its card said something."""
    classifier.save(path)
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["headstart"])
    del card[drop]
    save_file(load_file(path), path, {"headstart": json.dumps(card)})
    return path


@pytest.mark.slow
def test_a_file_from_before_the_card_said_unit_is_found(small_classifier, tmp_path: Path):
    path = resaved(small_classifier(), tmp_path / "old.safetensors", "unit")
    diagnosis = doctor(Classifier.load(path), file=path)
    (finding,) = [one for one in diagnosis.findings if one.name == "outdated classifier file"]
    assert finding.severity == "advice"
    assert "unit" in finding.found


@pytest.mark.slow
def test_a_file_as_it_is_written_today_passes(small_classifier, tmp_path: Path):
    path = small_classifier().save(tmp_path / "new.safetensors")
    assert "outdated classifier file" in doctor(Classifier.load(path), file=path).passed
    (lack,) = [one for one in doctor(Classifier.load(path)).not_checked if one.rule == "outdated classifier file"]
    assert lack.reason == "needs the classifier file"
