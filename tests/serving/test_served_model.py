"""ServedModel: opens images by its rules, tells damage, and has no gradients unless it says so."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headstart.classifier.predictions import Prediction
from headstart.data.images import BadImage, ImageRules
from headstart.errors import RecipeError
from headstart.serving.served_model import Feature, ServedModel


class _Mean(ServedModel):
    """Tells the mean colour."""

    def _answer(self, rgb: NDArray[np.uint8], damage: str | None) -> tuple[Prediction, Feature]:
        return Prediction("<bytes>", "grey", 1.0, {"grey": 1.0}, damaged=damage), self._features(rgb)

    def _features(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        return rgb.reshape(-1, 3).mean(0).astype(np.float32)


def _served(**given: Any) -> _Mean:
    return _Mean({"classes": ["grey"]}, None, **{"rules": ImageRules(background=(9, 9, 9)), "pixels": 10_000, **given})


def _file(image: Image.Image, kind: str) -> bytes:
    held = io.BytesIO()
    image.save(held, kind)
    return held.getvalue()


def test_images_are_opened_by_its_rules() -> None:
    clear = _file(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG")

    assert _served().embed(clear).tolist() == [9, 9, 9]
    with pytest.raises(BadImage, match="bound of 60"):
        _served(pixels=60).predict(clear)


def test_a_damaged_image_is_answered_and_said_to_be_damaged() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = _file(Image.fromarray(noise), "JPEG")

    assert _served().predict(whole).damaged is None
    assert _served().predict(whole[: len(whole) // 2]).damaged


def test_it_has_no_gradients_unless_it_says_so() -> None:
    assert not _served().explains
    with pytest.raises(RecipeError, match="no gradients"):
        _served().explain(b"", None)
