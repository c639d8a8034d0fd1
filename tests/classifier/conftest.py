"""A classifier on random weights, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.backbones.backbone import load_backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.heads.head import Head


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    backbone = load_backbone("random", seed=3)
    stages = backbone.stages[-2:]
    width = sum(backbone.spec.stage(name).width for name in stages)
    rng = np.random.default_rng(0)
    head = Head("ridge", stages, rng.normal(size=(width, 3)), rng.normal(size=3), temperature=3.0)
    return Classifier(backbone, head, Card.of(backbone, head, ("ant", "bee", "=wasp")))


@pytest.fixture
def path(classifier: Classifier, tmp_path: Path) -> Path:
    return classifier.save(tmp_path / "classifier.safetensors")
