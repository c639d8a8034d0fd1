"""The tables of advice fit 80 columns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from headstart.advice.augmentation import Flow, MovedImage, TransformCheck
from headstart.advice.backbones import BackboneAdvice, LayerFit, Measured, NetworkCost, advised, rank_networks
from headstart.advice.curve_fit import Forecast
from headstart.advice.learning_curve import ClassGain, CurvePoint, LearningCurve
from headstart.advice.next_to_label import LabelCandidate
from headstart.cli.advice_tables import (
    print_augmentations,
    print_backbone_advice,
    print_images_to_label,
    print_more_images,
)
from headstart.evaluation.intervals import Interval, wilson
from headstart.workbench.advise_augment import AugmentationAdvice
from headstart.workbench.advise_label import ImageToLabel, LabelAdvice
from headstart.workbench.advise_more import MoreImagesAdvice

NAMES = {"efficientnet_lite2": 120.0, "efficientnet_lite0": 40.0, "timm:[red]vit_base_patch16_224.augreg": 2345.0}


def backbone_advice() -> BackboneAdvice:
    groups, rng = np.arange(50), np.random.default_rng(0)
    found = []
    for number, (name, milliseconds) in enumerate(NAMES.items()):
        losses = 0.3 * number**2 + rng.random(50)
        fit = LayerFit(
            layers="last-three", stages=("a",), width=9, squared_error=float(losses.mean()),
            accuracy=wilson(45, 50), logme=-0.123, h_score=10.5, losses=losses,
        )  # fmt: skip
        licence = "Apache-2.0; trained on ImageNet"
        cost = NetworkCost(backbone=name, side=224, milliseconds=milliseconds, megabytes=343.2, licence=licence)
        found.append(Measured(cost=cost, rounds=((fit,),)))
    ranked = rank_networks(found, [groups], is_few=False)
    return BackboneAdvice(
        source="photos", images=50, classes=2, ranked=tuple(ranked), advised=advised(ranked), is_few=False,
        left_out={"resnet18 224 px": "not measured"}, command="headstart train photos", seconds=1.0,
    )  # fmt: skip


def test_backbones_fit_80_columns_and_names_are_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_backbone_advice(backbone_advice())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "[red]" in text
    assert "90.0 [79, 96]" in text
    assert "! resnet18 224 px: not measured" in text
    assert lines[-1] == "Next: headstart train photos"
    assert sum(line.startswith("→") for line in lines) == 1


def test_with_few_images_no_accuracy_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_backbone_advice(dataclasses.replace(backbone_advice(), is_few=True))
    out = capsys.readouterr().out
    assert "90.0 [79, 96]" not in out
    assert "LogME ranks" in out


def test_more_images_fit_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    curve = LearningCurve(
        images=1000,
        accuracy=wilson(900, 1000),
        chance=0.5,
        points=(
            CurvePoint(images=500, error=0.14, low=0.12, high=0.163),
            CurvePoint(images=1000, error=0.1, low=0.083, high=0.12),
        ),
        forecasts=tuple(Forecast(images=n, error=0.06, low=0.04, high=0.08) for n in (1500, 2000, 4000)),
        gains=(ClassGain(name="[b]bees", images=9, gain=Interval(0.03, 0.01, 0.05, 1000, method="")),),
    )
    print_more_images(MoreImagesAdvice(run="runs/bees", curve=curve, command="headstart advise bees"))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "86.0    [83.7, 88.0]" in out  # measured
    assert "[92.0, 96.0]" in out  # forecast
    assert "[b]bees" in out
    assert "+3.0 [+1.0, +5.0]" in out
    assert out.splitlines()[-1] == "Next: headstart advise bees"


def test_images_to_label_fit_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    candidate = LabelCandidate(index=0, score=0.5, margin=0.123, density=0.9)
    long = "a/very/long/folder/name/that/does/not/fit/into/any/column/at/all/image[red]0001.jpg"
    chosen = ImageToLabel(path=long, predicted="ants", probability=0.5, runner_up="bees", candidate=candidate)
    print_images_to_label(LabelAdvice(run="r", unlabelled=9, chosen=(chosen,), sure=0.25, command="headstart train a"))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "0.12" in out
    assert "25 % of the 9 images" in " ".join(out.split())


def test_augmentations_fit_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    flow = Flow(true="[b]left", predicted="right", images=18, of=20, untransformed=1, limit=0.3)
    moved = MovedImage(
        index=0, name="a/very/long/name/of/an/image/that/was/changed.png", true="l", predicted="r", drop=1.0
    )
    checks = [
        TransformCheck(
            name=name, verdict=verdict, accuracy=0.5, before=Interval(0.9, 0.7, 0.97, 20, method=""),
            change=Interval(-0.4, -0.5, -0.3, 20, method=""), movement=1.2,
            flows=flows, worst=(moved,) * 3,
        )
        for name, verdict, flows in (("horizontal-flip", "unsafe", (flow,)), ("hue", "useful", ()))
    ]  # fmt: skip
    print_augmentations(AugmentationAdvice(source="s", backbone="embedded", images=200, checks=tuple(checks)))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "[b]left → right: 18 of 20" in out
    assert "--no-flips" in out
    assert "accuracy 90.0 % [70.0, 97.0] untransformed" in " ".join(out.split())
    assert "accuracy -40.0 points [-50.0, -30.0], features move 1.2" in " ".join(out.split())
