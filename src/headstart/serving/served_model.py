"""ServedModel: a classifier or its ONNX file, as the server uses it: bytes of an image in, plain answers out."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.classifier.classifier import Classifier
from headstart.classifier.predictions import Prediction
from headstart.data.images import BadImage, open_image
from headstart.errors import RecipeError
from headstart.inspection.attribution.attribution import explain
from headstart.inspection.inspected_images import InspectedImages


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

    def predict(self, content: bytes) -> Prediction:
        """The same answer as `Classifier.predict`, bit for bit.

        Raises:
            BadImage: the image cannot be used.
        """
        opened = open_image(content, self._rules)
        prediction = cast(Prediction, self._classifier.predict(opened.rgb))  # of one image
        return replace(prediction, name="<bytes>", damaged=opened.damage)

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
        preprocess = self._classifier.backbone.preprocess
        prepared = preprocess.prepare(open_image(content, self._rules).rgb)[None]
        image = InspectedImages(pixels=preprocess.normalise(prepared), names=("image",), prepared=prepared)
        (explanation,) = explain(self._classifier, image, methods=("grad-cam",), class_name=class_name)
        png = io.BytesIO()
        explanation.figure().savefig(png, format="png")
        return png.getvalue()


class ServedOnnx:
    """An ONNX file that `headstart export` wrote, opened as an OnnxClassifier."""

    explains = False

    def __init__(self, model: Any, *, pixels: int, rules: Any) -> None:
        self._model = model
        self._rules = replace(rules, max_pixels=pixels)
        self.card = dict(model.card)

    def predict(self, content: bytes) -> Prediction:
        """The same answer as `predict` with this file.

        Raises:
            BadImage: the image cannot be used.
        """
        opened = open_image(content, self._rules)
        row = self._model.probabilities([opened.rgb])[0]
        order = np.argsort(-row, kind="stable")
        ranked = {self._model.classes[i]: float(row[i]) for i in order}
        return Prediction("<bytes>", *next(iter(ranked.items())), ranked, damaged=opened.damage)

    def embed(self, content: bytes) -> NDArray[np.float32]:
        """Features as the head takes them, D float32.

        Raises:
            BadImage: the image cannot be used.
        """
        (features,) = self._model.run([open_image(content, self._rules).rgb], "features")
        found: NDArray[np.float32] = features[0]
        return found

    def explain(self, content: bytes, class_name: str | None) -> bytes:
        """Not possible: an ONNX file has no gradients.

        Raises:
            RecipeError: always.
        """
        raise RecipeError(
            expected="a classifier file", found="an ONNX file, which has no gradients", where="/v1/explain"
        )


ServedModel = ServedClassifier | ServedOnnx
Refused = (BadImage, RecipeError)
"""What an image or a class name from outside can be refused with."""
