"""ServedClassifier: a classifier as the server uses it: bytes of an image in, plain answers out."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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

Feature = NDArray[np.float32] | None


class ServedClassifier:
    """A loaded classifier; several threads may call it at once.

    Args:
        pixels: largest image, checked before it is decoded.
    """

    explains = True

    def __init__(self, classifier: Classifier, *, pixels: int) -> None:
        self._classifier = classifier
        self._rules = replace(classifier.rules, max_pixels=pixels, keep_damaged=True)
        self.card = classifier.card.to_dict()
        self._lock = threading.Lock()
        self._own: Classifier | None = None
        known = classifier.familiarity
        self.training = None if known is None else TrainingMean(known.training_mean, known.training_images)

    @property
    def tells(self) -> dict[str, Any]:
        """What `Rejection.check` asks: whether there are a threshold and sets, and the reason where not."""
        known = self._classifier.familiarity
        threshold, reason = (False, "") if known is None else (known.threshold is not None, known.reason)
        return {"threshold": threshold, "sets": self._classifier.conformal is not None, "reason": reason}

    def predict(self, content: bytes) -> Prediction:
        """The same answer as `Classifier.predict`, bit for bit.

        Raises:
            BadImage: the image cannot be used.
        """
        return self.measured(content)[0]

    def measured(self, content: bytes) -> tuple[Prediction, Feature]:
        """The answer, and the feature D of unit length that the image is compared by; None without familiarity.

        Raises:
            BadImage: the image cannot be used.
        """
        opened = open_image(content, self._rules)
        prepared = self._classifier.backbone.preprocess.prepare(opened.rgb)
        answers = self._classifier.answers(prepared[None])
        prediction = answers.prediction("<bytes>", 0, damaged=opened.damage or opened.suspicion)
        return prediction, None if answers.compared is None else unit_rows(answers.compared)[0]

    def embed(self, content: bytes) -> NDArray[np.float32]:
        """Features of the head's stages, D float32.

        Raises:
            BadImage: the image cannot be used.
        """
        classifier = self._classifier
        backbone = classifier.backbone
        prepared = backbone.preprocess.prepare(open_image(content, self._rules).rgb)
        with torch.inference_mode():
            features = backbone.features(backbone.preprocess.normalise(prepared[None]))
        stages = [features[0, backbone.slices[name]] for name in classifier.head.stages]
        found: NDArray[np.float32] = torch.cat(stages).numpy()
        return found

    def explain(self, content: bytes, class_name: str | None) -> bytes:
        """A PNG: the image with the parts that speak for the class.

        Raises:
            BadImage: the image cannot be used. RecipeError: the class is unknown.
        """
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
