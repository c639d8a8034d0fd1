"""The backbone that comes with headstart: there without a network, small, quick, described, and better than chance."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

import headstart.backbones
from headstart.backbones.backbone import build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS
from headstart.backbones.weight_files import read_weights, tensor_hash
from headstart.backbones.weights import load_weights, weights_available

FOLDER = Path(headstart.backbones.__file__).parent / "embedded"


def test_its_weights_load_offline_and_are_not_the_ones_it_was_drawn_with() -> None:
    backbone = load_backbone("embedded", offline=True)

    where = weights_available(SPECS["embedded"])
    assert where.path == FOLDER / "embedded.safetensors"
    assert where.path.is_file()
    assert not where.url
    assert backbone.weights.source == "comes with headstart"
    assert backbone.weights.licence == SPECS["embedded"].licence
    assert backbone.fingerprint != build_backbone(SPECS["embedded"]).fingerprint
    assert load_weights(SPECS["embedded"], offline=True).sha256 == backbone.weights.sha256


def test_it_is_small_and_quick_enough_to_be_shipped() -> None:
    assert (FOLDER / "embedded.safetensors").stat().st_size < 6e6
    assert SPECS["embedded"].gflop <= 0.3
    assert not any(tensor.isnan().any() for tensor in read_weights(FOLDER / "embedded.safetensors").state.values())


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64, 96, 100, 128, 224])
def test_it_takes_pictures_of_several_sizes(size: int) -> None:
    backbone = load_backbone("embedded")

    features = backbone.features(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))

    assert features.shape == (2, sum(backbone.widths))
    assert features.isfinite().all()
    assert (
        features.std(0) > 0
    ).float().mean() > 0.5  # noise is no picture, and some channels have nothing to say to it


def test_its_card_is_about_these_very_weights() -> None:
    card = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))
    file = FOLDER / "embedded.safetensors"

    assert card["file_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["tensors_sha256"] == tensor_hash(read_weights(file).state)
    assert card["licence"] == "MIT (headstart)"
    assert card["taught_by"]["name"] == "squeezenet1_0"
    assert card["taught_by"]["licence"]
    pictures = sum(run["recipe"]["pictures"] for run in card["runs"])
    assert card["trained_on"].startswith(f"{pictures:,} pictures drawn by headstart")
    assert card["good_for"]
    assert card["not_for"]
    assert set(card["gate"]["table"]) == {"hymenoptera", "rps28", "rps_photos", "cifar10_sample"}
    for row in card["gate"]["table"].values():
        assert {"embedded", "random", "pixels", "patches", "minus_random", "minus_pixels", "minus_patches"} <= set(row)


def test_what_the_card_claims_follows_from_its_own_table() -> None:
    gate = json.loads((FOLDER / "card.json").read_text(encoding="utf-8"))["gate"]

    differences = {name: row["minus_random"] for name, row in gate["table"].items()}
    ants = gate["table"]["hymenoptera"]
    assert set(gate["beats_random_on"]) == {name for name, (mean, error) in differences.items() if mean > 3 * error}
    way = (ants["embedded"] - ants["random"]) / (ants["teacher"] - ants["random"])
    assert gate["gap_to_teacher_closed"] == pytest.approx(way, abs=0.01)
    assert gate["passed"] == (len(gate["beats_random_on"]) >= 3 and way >= 0.5)
