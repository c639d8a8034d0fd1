"""Small models to look into."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headstart.backbones.backbone import load_backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier, Head


def make_classifier(unit: bool = True, classes: tuple[str, ...] = ("ants", "bees", "wasps")) -> Classifier:
    """The embedded backbone with a head of drawn weights, temperature 1.7."""
    backbone = load_backbone("embedded")
    stages = backbone.stages[-2:]
    width = sum(backbone.row.stage(name).width for name in stages)
    rng = np.random.default_rng(0)
    head = Head("ridge", stages, rng.normal(size=(width, len(classes))), rng.normal(size=len(classes)), 1.7, unit)
    preprocess = backbone.preprocess.to_dict()
    card = Card("embedded", stages, classes, preprocess, (255, 255, 255), "ridge", 1.7, {}, unit=unit)
    return Classifier(backbone, head, card)


@pytest.fixture
def small_classifier() -> Callable[[bool], Classifier]:
    """Makes a classifier on the embedded backbone; True: its head takes stages of unit length."""
    return make_classifier
