"""ServedModel: a model as the server uses it: bytes of an image in, plain answers out; needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.predictions import Prediction
from headstart.data.images import ImageRules, open_image
from headstart.errors import RecipeError
from headstart.serving.drift import TrainingMean

Feature = NDArray[np.float32] | None


class ServedModel(ABC):
    """A model that several threads may ask at once.

    Args:
        card: what it says about itself. training: what features are compared with; None: nothing.
        rules: how its images are opened. pixels: of the largest image, checked before it is decoded.
    """

    explains = False

    def __init__(
        self, card: Mapping[str, Any], training: TrainingMean | None, *, rules: ImageRules, pixels: int
    ) -> None:
        self.card, self.training = dict(card), training
        self._rules = replace(rules, max_pixels=pixels, keep_damaged=True)

    def predict(self, content: bytes) -> Prediction:
        """The same answer as `predict` with this model, bit for bit.

        Raises:
            BadImage: the image cannot be used.
        """
        return self.measured(content)[0]

    def measured(self, content: bytes) -> tuple[Prediction, Feature]:
        """The answer, and the feature D of unit length that the image is compared by; None where there is none.

        Raises:
            BadImage: the image cannot be used.
        """
        opened = open_image(content, self._rules)
        return self._answer(opened.rgb, opened.damage or opened.suspicion)

    def embed(self, content: bytes) -> NDArray[np.float32]:
        """Features as the head takes them, D float32.

        Raises:
            BadImage: the image cannot be used.
        """
        return self._features(open_image(content, self._rules).rgb)

    def explain(self, content: bytes, class_name: str | None) -> bytes:
        """A PNG: the image with the parts that speak for the class.

        Raises:
            BadImage: the image cannot be used. RecipeError: the class is unknown, or the model has no gradients.
        """
        raise RecipeError(
            expected="a classifier file", found="an ONNX file, which has no gradients", where="/v1/explain"
        )

    @abstractmethod
    def _answer(self, rgb: NDArray[np.uint8], damage: str | None) -> tuple[Prediction, Feature]:
        """The answer to an H×W×3 image of which something may be damaged, and the feature."""

    @abstractmethod
    def _features(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What `embed` gives for an H×W×3 image."""
