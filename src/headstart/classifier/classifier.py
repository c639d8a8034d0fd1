"""Classifier: image files in, calibrated Predictions out. It predicts, saves and loads, nothing else.

It holds its preprocessing and its class names, so that a wrong normalisation or a shifted label cannot happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from headstart.backbones.backbone import Backbone
from headstart.classifier.card import Card
from headstart.classifier.file import read_classifier, write_classifier
from headstart.data.batches import pixel_batches
from headstart.data.images import BadImage, ImageRules, as_path, open_image
from headstart.errors import ClassifierError, DataError, RecipeError
from headstart.heads.head import Head
from headstart.public_api import public_methods

Source = str | Path | bytes
Forward = Callable[[torch.Tensor], torch.Tensor]

BATCH_SIZE = 16  # larger batches are hardly faster on a CPU, and the first prediction comes later


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image; for an unreadable one `error` says why and the rest is empty.

    Args:
        name: the given path, or `<bytes>`.
        label: the most probable class.
        probability: its calibrated probability.
        probabilities: class → probability, most probable first.
    """

    name: str
    label: str | None
    probability: float
    probabilities: dict[str, float]
    error: str | None = None

    @property
    def top(self) -> tuple[tuple[str, float], ...]:
        """The three most probable classes with their probabilities."""
        return tuple(self.probabilities.items())[:3]

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "path": self.name,
            "label": self.label,
            "probability": self.probability if self.label else None,
            "top": [{"label": label, "probability": probability} for label, probability in self.top],
            "error": self.error,
        }

    def __str__(self) -> str:
        if self.error:
            return f"{self.name}: {self.error}"
        return f"{self.name}: {self.label} ({self.probability:.1%})"


@public_methods("load", "save")
class Classifier:
    """A backbone and a head that belong together, with the card that says where they come from.

    Its network may be in any mode: predictions are always those of eval mode.

    Raises:
        ClassifierError: one of them uses flip TTA and another does not.
    """

    def __init__(self, backbone: Backbone, head: Head, card: Card) -> None:
        flips = {"backbone": backbone.flip_tta is not None, "head": head.flip_tta, "card": card.flip_tta}
        if len(set(flips.values())) > 1:
            raise ClassifierError(
                expected="flip TTA in backbone, head and card, or in none of them",
                found=f"only {' and '.join(name for name, flip in flips.items() if flip)}",
                where="Classifier",
                hint="Otherwise its predictions would not be the measured ones.",
            )
        self.backbone = backbone
        self.head = head
        self.card = card

    def __repr__(self) -> str:
        return f"Classifier({self.card.backbone}, {len(self.classes)} classes: {', '.join(self.classes[:6])})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities' columns."""
        return self.card.classes

    @property
    def rules(self) -> ImageRules:
        """How its images are opened: its background under transparent ones."""
        return ImageRules(background=self.card.background)

    @overload
    def predict(self, source: Source, *, workers: int = ...) -> Prediction: ...  # type: ignore[overload-overlap]  # bytes
    @overload
    def predict(self, source: Sequence[Source], *, workers: int = ...) -> list[Prediction]: ...
    def predict(self, source: Source | Sequence[Source], *, workers: int = 1) -> Prediction | list[Prediction]:
        """Classify one image, or many in their order.

        Args:
            source: a path or the bytes of an image file, or a sequence of them.
            workers: threads that decode images.

        Returns:
            A Prediction for one source, a list for a sequence; an unreadable image is a Prediction with its error.

        Raises:
            DataError: the source is neither a path nor the bytes of a file, nor a sequence of these.
        """
        if isinstance(source, (str, Path, bytes)):
            return self._predict_one(source)
        return list(self.stream(source, workers=workers))

    def _predict_one(self, source: Source) -> Prediction:
        file, name = Path(source) if isinstance(source, str) else source, _name_of(source)
        try:
            prepared = self.backbone.preprocess.prepare(open_image(file, self.rules).rgb)
        except BadImage as bad:
            return _unreadable(name, bad.reason)
        return self._prediction(name, self._probabilities(prepared[None], self.backbone.features)[0])

    def stream(
        self,
        sources: Sequence[Source],
        *,
        workers: int = 1,
        batch_size: int = BATCH_SIZE,
        forward: Forward | None = None,
    ) -> Iterator[Prediction]:
        """Predictions one after another, in order; memory does not grow with the number of images.

        Args:
            forward: an engine's function from pixels to features; None runs the network itself.

        Raises:
            DataError: one of the sources is neither a path nor the bytes of a file. RecipeError: a number is below 1.
        """
        if not isinstance(sources, Sequence) or isinstance(sources, (str, bytes, bytearray, memoryview)):
            raise DataError(
                expected="a path, the bytes of an image file, or a list of these",
                found=f"{type(sources).__name__}",
                where="Classifier.predict",
                hint="Save the picture into a file, or give its encoded bytes.",
            )
        for name, number in (("workers", workers), ("batch_size", batch_size)):
            if not isinstance(number, int) or number < 1:
                raise RecipeError(expected=f"a whole number of at least 1 as {name}", found=repr(number), where=name)
        files = [source if isinstance(source, (bytes, Path)) else as_path(source) for source in sources]
        prepare, names = self.backbone.preprocess.prepare, [_name_of(source) for source in sources]
        for batch in pixel_batches(files, prepare, rules=self.rules, batch_size=batch_size, workers=workers):
            answers: dict[int, Prediction] = {
                position: _unreadable(names[position], reason) for position, reason in batch.failures.items()
            }
            if batch.positions:
                probabilities = self._probabilities(batch.pixels, forward or self.backbone.features)
                for position, row in zip(batch.positions, probabilities, strict=True):
                    answers[position] = self._prediction(names[position], row)
            yield from (answers[position] for position in sorted(answers))

    def _probabilities(self, prepared: torch.Tensor, forward: Forward) -> NDArray[np.float64]:
        with torch.inference_mode():
            features = forward(self.backbone.preprocess.normalise(prepared)).cpu().double()  # N×D
            slices, head = self.backbone.slices, self.head
            stages = [features[:, slices[name]] for name in head.stages]
            if head.unit and not head.flip_tta:  # flip TTA averages stages of unit length already
                stages = [F.normalize(stage, dim=1) for stage in stages]
            x: NDArray[np.float64] = torch.cat(stages, dim=1).numpy()
        return head.probabilities(x)

    def _prediction(self, name: str, row: NDArray[np.float64]) -> Prediction:
        if not np.isfinite(row).all():
            return _unreadable(name, "no answer: numbers overflow in the network, its weights make no sense")
        classes, order = self.card.classes, np.argsort(-row, kind="stable")
        ranked = {classes[i]: float(row[i]) for i in order}
        return Prediction(name, classes[order[0]], float(row[order[0]]), ranked)

    def copy(self) -> Classifier:
        """Another classifier with its own network, so that changing one leaves the other unchanged."""
        return Classifier(self.backbone.copy(), self.head, self.card)

    def save(self, path: str | Path) -> Path:
        """Write everything into one .safetensors file, whole or not at all."""
        tensors = {f"backbone.{key}": value for key, value in self.backbone.state().items()}
        tensors["head.weight"] = torch.from_numpy(np.ascontiguousarray(self.head.weight))
        tensors["head.bias"] = torch.from_numpy(np.ascontiguousarray(self.head.bias))
        return write_classifier(Path(path), tensors, self.card)

    @classmethod
    def load(cls, path: str | Path, *, module: nn.Module | None = None) -> Classifier:
        """Open a classifier file, or the folder of a run: no internet, no pickle, no code from the file.

        Args:
            module: for a classifier that was made on your own network: such a network, which gets the weights of the
                file. Not needed for the catalogue and for registered backbones.

        Raises:
            ClassifierError: the file is missing, damaged, of a newer version, its tensors do not fit together, or it
                needs a module.
        """
        backbone, card, weight, bias = read_classifier(Path(path), module)
        head = Head(
            kind=card.head,
            stages=card.stages,
            weight=weight,
            bias=bias,
            temperature=float(card.temperature),
            unit=card.unit,
            flip_tta=card.flip_tta,
        )
        return cls(backbone, head, card)


def _unreadable(name: str, reason: str) -> Prediction:
    return Prediction(name=name, label=None, probability=0.0, probabilities={}, error=reason)


def _name_of(source: Source) -> str:
    return "<bytes>" if isinstance(source, bytes) else str(source)
