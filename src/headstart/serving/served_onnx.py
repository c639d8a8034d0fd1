"""ServedOnnx: an exported file as the server uses it, without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classifier.predictions import Prediction
from headstart.serving.drift import TrainingMean
from headstart.serving.served_model import Feature, ServedModel

_SHORTEST = 1e-12  # a feature below this length stays as it is


class ServedOnnx(ServedModel):
    """An ONNX file that `headstart export` wrote, opened as an OnnxClassifier."""

    def __init__(self, model: Any, *, pixels: int, rules: Any) -> None:
        training = model.known.get("training") or {}
        mean = np.array(training.get("mean", []), dtype=np.float64)
        known = TrainingMean(mean, int(training["images"])) if training else None
        super().__init__(model.card, known, rules=rules, pixels=pixels)
        self._model = model
        self._compared = slice(*training["columns"]) if training else None

    def _answer(self, rgb: NDArray[np.uint8], damage: str | None) -> tuple[Prediction, Feature]:
        found = self._model.run(rgb)
        prediction = Prediction(name="<bytes>", damaged=damage, **self._model.answer(found))
        if self._compared is None:
            return prediction, None
        row: NDArray[np.float32] = found["features"][0, self._compared]
        return prediction, row / max(float(np.linalg.norm(row)), _SHORTEST)

    def _features(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._model.run(rgb)["features"][0]
        return found
