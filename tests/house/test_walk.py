"""How many of our own files a call passes: the price a reader pays with a debugger."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np

import headstart
from headstart.backbones.backbone import load_backbone
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.heads.head import Head

OWN = str(Path(headstart.__file__).parent)


def files_passed(call: Callable[[], object]) -> set[str]:
    """Own source files whose Python frames a call enters."""
    passed: set[str] = set()

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OWN):
            passed.add(Path(frame.f_code.co_filename).name)

    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(None)
    return passed


def test_predicting_one_image_passes_at_most_five_files(photos: Path) -> None:
    backbone = load_backbone("embedded")
    width = backbone.spec.stages[-1].width
    head = Head("ridge", backbone.stages[-1:], np.zeros((width, 2)), np.zeros(2), 1.0)
    preprocess = backbone.preprocess.to_dict()
    card = Card("embedded", head.stages, ("a", "b"), preprocess, (255, 255, 255), "ridge", 1.0, {})
    classifier, image = Classifier(backbone, head, card), next(photos.rglob("*.png"))
    classifier.predict(image)  # warm: graphs are traced once

    passed = files_passed(lambda: classifier.predict(image))

    assert "images.py" in passed  # the count is of something
    assert len(passed) <= 5, sorted(passed)
