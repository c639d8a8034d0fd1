"""ServedOnnx: an exported file as the server uses it, bytes of an image in, plain answers out; without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.predictions import Prediction
from headstart.classifier.rejection import told_by_file
from headstart.data.images import open_image
from headstart.errors import RecipeError
from headstart.serving.drift import TrainingMean

Feature = NDArray[np.float32] | None
_SHORTEST = 1e-12  # a feature below this length stays as it is


class ServedOnnx:
    """An ONNX file that `headstart export` wrote, opened as an OnnxClassifier."""

    explains = False

    def __init__(self, model: Any, *, pixels: int, rules: Any) -> None:
        self._model = model
        self._rules = replace(rules, max_pixels=pixels)
        self.card = dict(model.card)
        self.tells = told_by_file(model.card, model.outputs)
        training = model.known.get("training") or {}
        self._compared = slice(*training["columns"]) if training else None
        mean = np.array(training.get("mean", []), dtype=np.float64)
        self.training = None if self._compared is None else TrainingMean(mean, int(training["images"]))

    def predict(self, content: bytes) -> Prediction:
        """The same answer as `predict` with this file.

        Raises:
            BadImage: the image cannot be used.
        """
        return self.measured(content)[0]

    def measured(self, content: bytes) -> tuple[Prediction, Feature]:
        """The answer, and the feature D of unit length that the image is compared by; None where the file lacks it.

        Raises:
            BadImage: the image cannot be used.
        """
        opened = open_image(content, self._rules)
        found = self._model.run(opened.rgb)
        answer = self._model.answer(found)
        prediction = Prediction(name="<bytes>", damaged=opened.damage or opened.suspicion, **answer)
        if self._compared is None:
            return prediction, None
        row: NDArray[np.float32] = found["features"][0, self._compared]
        return prediction, row / max(float(np.linalg.norm(row)), _SHORTEST)

    def embed(self, content: bytes) -> NDArray[np.float32]:
        """Features as the head takes them, D float32.

        Raises:
            BadImage: the image cannot be used.
        """
        found: NDArray[np.float32] = self._model.run(open_image(content, self._rules).rgb)["features"][0]
        return found

    def explain(self, content: bytes, class_name: str | None) -> bytes:
        """Not possible: an ONNX file has no gradients.

        Raises:
            RecipeError: always.
        """
        raise RecipeError(
            expected="a classifier file", found="an ONNX file, which has no gradients", where="/v1/explain"
        )
