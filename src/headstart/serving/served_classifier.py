"""ServedClassifier: a loaded classifier as the server uses it, with what needs its network."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.classifier.familiarity import unit_rows
from headstart.classifier.predictions import Prediction
from headstart.data.images import open_image
from headstart.inspection.attribution.attribution import explain
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.residual.switched_off import SwitchedOff, switch_blocks_off
from headstart.serving.drift import TrainingMean
from headstart.serving.served_model import Feature, ServedModel


class ServedClassifier(ServedModel):
    """A loaded classifier."""

    explains = True

    def __init__(self, classifier: Classifier, *, pixels: int) -> None:
        known = classifier.familiarity
        training = None if known is None else TrainingMean(known.training_mean, known.training_images)
        super().__init__(classifier.card.to_dict(), training, rules=classifier.rules, pixels=pixels)
        self._classifier = classifier
        self._lock = threading.Lock()
        self._own: Classifier | None = None

    @property
    def no_threshold(self) -> str:
        """Why no image is called unfamiliar; empty: those beyond the threshold are, or nothing is known about it."""
        known = self._classifier.familiarity
        return "" if known is None or known.threshold is not None else known.summary

    def _answer(self, rgb: NDArray[np.uint8], damage: str | None) -> tuple[Prediction, Feature]:
        answers = self._classifier.answers(self._classifier.backbone.preprocess.prepare(rgb)[None])
        prediction = answers.prediction("<bytes>", 0, damaged=damage)
        return prediction, None if answers.compared is None else unit_rows(answers.compared)[0]

    def _features(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        backbone, head = self._classifier.backbone, self._classifier.head
        with torch.inference_mode():
            features = backbone.features(backbone.preprocess.normalise(backbone.preprocess.prepare(rgb)[None]))
        found: NDArray[np.float32] = torch.cat([features[0, backbone.slices[name]] for name in head.stages]).numpy()
        return found

    def explain(self, content: bytes, class_name: str | None) -> bytes:
        """As the server asks for it; one after another, on a network of its own."""
        with self._lock:
            image = self._inspected(content)
            (explanation,) = explain(self._copy(), image, class_name=class_name)
        png = io.BytesIO()
        explanation.figure().savefig(png, format="png")
        return png.getvalue()

    def without_blocks(self, content: bytes, off: Sequence[int]) -> SwitchedOff:
        """The answer with residual blocks switched off, each alone and those of `off` together.

        Raises:
            BadImage: the image cannot be used. DataError: there is no such block.
        """
        with self._lock:
            return switch_blocks_off(self._copy(), self._inspected(content), off)

    def _inspected(self, content: bytes) -> InspectedImages:
        """An image as analyses take it.

        Raises:
            BadImage: the image cannot be used.
        """
        preprocess = self._classifier.backbone.preprocess
        prepared = preprocess.prepare(open_image(content, self._rules).rgb)[None]
        return InspectedImages(pixels=preprocess.normalise(prepared), names=("image",), prepared=prepared)

    def _copy(self) -> Classifier:
        """The classifier with a network of its own, for analyses, one at a time.

        These shuffle weights and watch layers for a moment: predictions of other threads must not see that, and the
        engine that was measured to be the fastest is given up once a weight has changed.
        """
        if self._own is None:
            own = self._classifier
            self._own = Classifier(own.backbone.copy(), own.head, own.card)
        return self._own
