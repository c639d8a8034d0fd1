"""Classifier: image files in, calibrated Predictions out. It predicts, saves and loads, nothing else.

It holds its preprocessing and its class names, so that a wrong normalisation or a shifted label cannot happen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from headstart import runtime
from headstart.backbones.backbone import Backbone
from headstart.classifier.answers import Answers, unreadable
from headstart.classifier.card import Card
from headstart.classifier.familiarity import Familiarity
from headstart.classifier.file import INT8, SCALE, read_classifier, write_classifier
from headstart.classifier.predictions import Prediction, Predictions
from headstart.classifier.trust_file import familiarity_tensors, read_conformal, trust_values
from headstart.data.batches import pixel_batches
from headstart.data.image_source import Readable, is_image_source, list_sources, name_of, readable_image
from headstart.data.images import BadImage, ImageRules, open_image
from headstart.engines.choose import measured_forward
from headstart.errors import ClassifierError, DataError, DownloadError, RecipeError
from headstart.evaluation.conformal import ConformalSets
from headstart.heads.head import Head
from headstart.public_api import public_methods
from headstart.usual_torch import usual_settings

Forward = Callable[[torch.Tensor], torch.Tensor]
_CHANGED = -1  # in the place of a number of changes: the network itself answers

BATCH_SIZE = 16  # larger batches are hardly faster on a CPU, and the first prediction comes later


@public_methods("load", "save")
class Classifier:
    """A backbone and a head that belong together, with the card that says where they come from.

    Its network may be in any mode: predictions are always those of eval mode.

    Args:
        familiarity: which images are like those it was trained on. conformal: which classes cannot be ruled out. Its
            predictions say nothing of either without them.

    Raises:
        ClassifierError: one of them uses flip TTA and another does not.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        card: Card,
        *,
        familiarity: Familiarity | None = None,
        conformal: ConformalSets | None = None,
    ) -> None:
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
        values = trust_values(familiarity, conformal)
        self.card = replace(card, familiarity=values["familiarity"], conformal=values["conformal"])
        self.familiarity = familiarity
        self.conformal = conformal
        self._fast: _FastForward | None = None

    def __repr__(self) -> str:
        return f"Classifier({self.card.backbone}, {len(self.classes)} classes: {', '.join(self.classes[:6])})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the probabilities' columns."""
        return self.card.classes

    @property
    def rules(self) -> ImageRules:
        """How its images are opened: its background under transparent ones, its bit depth of 16-bit files."""
        return ImageRules(background=self.card.background, bit_depth=self.card.bit_depth)

    def predict(
        self, source: Any, *, workers: int = 1, bgr: bool = False, network: bool = False
    ) -> Prediction | Predictions:  # what is given decides what comes back
        """Classify one image, or many in their order.

        Args:
            source: one image, or an iterable of images, a Dataset or an ImageSet. An image is a path, an address
                on the web, the bytes of a file, an open file, a Pillow image, an H×W×3 or H×W uint8 array, or a 3×H×W
                uint8 tensor, in RGB.
            workers: threads that decode images.
            bgr: the channels of arrays are blue, green, red, as OpenCV gives them.
            network: whether addresses may be fetched.

        Returns:
            A Prediction for one image, Predictions (a list with `to_frame` and `to_dict`) for several. An unreadable
            image is a Prediction with its error; so is, among several, a missing one and an address that cannot be
            fetched. A prediction for what could be decoded of a damaged image says so in `damaged`.

        Raises:
            DataError: the source is no image and holds none, the one file that is asked for is missing or a folder, or
                an address may not be fetched. DownloadError: the one address that is asked for cannot be fetched.
        """
        if not _is_path(source) and not is_image_source(source):
            return Predictions(self.stream(source, workers=workers, bgr=bgr, network=network))
        name, image = _named(source, bgr=bgr, network=network)
        if isinstance(image, Path) and not os.path.isfile(image):  # noqa: PTH113  # False for names no disk can hold
            _check_one(image)
        try:
            rgb, damage = (image, None) if isinstance(image, np.ndarray) else self._opened(image)
        except BadImage as bad:
            return unreadable(name, bad.reason)
        prepared = self.backbone.preprocess.prepare(rgb)
        return self.answers(prepared[None]).prediction(name, 0, damaged=damage)

    def _opened(self, image: Path | bytes) -> tuple[NDArray[np.uint8], str | None]:
        opened = open_image(image, self._lenient)
        return opened.rgb, opened.damage or opened.suspicion

    @property
    def _lenient(self) -> ImageRules:
        """A prediction may be for what is left of a damaged image, as long as it says so."""
        return replace(self.rules, keep_damaged=True)

    def stream(
        self,
        sources: Any,
        *,
        workers: int = 1,
        batch_size: int = BATCH_SIZE,
        forward: Forward | None = None,
        bgr: bool = False,
        network: bool = False,
    ) -> Iterator[Prediction]:  # how images are read, and how they are run
        """Predictions one after another, in order; memory does not grow with the number of images.

        Args:
            sources: as for `predict`, several. batch_size: images in one forward pass.
            forward: an engine's function from pixels to features; None runs the network itself.

        Raises:
            DataError: one of the sources is no image. RecipeError: a number is below 1.
        """
        for name, number in (("workers", workers), ("batch_size", batch_size)):
            if not isinstance(number, int) or number < 1:
                raise RecipeError(expected=f"a whole number of at least 1 as {name}", found=repr(number), where=name)
        names: list[str] = []

        # one after another: they may be files, arrays and addresses without end
        def images() -> Iterator[Readable | BadImage]:
            for source in sources if isinstance(sources, (list, tuple, Iterator)) else list_sources(sources):
                names.append("")  # before it is opened: a name for each position
                try:
                    names[-1], image = _named(source, bgr=bgr, network=network)
                    yield image
                except DownloadError as error:  # one of several: as a file that is missing
                    names[-1] = name_of(source)
                    yield BadImage(f"cannot be fetched: {error.found}")

        prepare = self.backbone.preprocess.prepare
        for batch in pixel_batches(images(), prepare, rules=self._lenient, batch_size=batch_size, workers=workers):
            answers: dict[int, Prediction] = {
                position: unreadable(names[position], reason) for position, reason in batch.failures.items()
            }
            if batch.positions:
                found = self.answers(batch.pixels, forward)
                for row, position in enumerate(batch.positions):
                    damage = batch.damage.get(position)
                    answers[position] = found.prediction(names[position], row, damaged=damage)
            yield from (answers[position] for position in sorted(answers))

    @property
    def _features(self) -> Forward:
        fast = None if self._fast is None or self._fast.backbone is not self.backbone else self._fast.current
        return fast or self.backbone.features

    def answers(self, prepared: torch.Tensor, forward: Forward | None = None) -> Answers:
        """The numbers behind the predictions of prepared images n×3×S×S uint8; `forward`: as for `stream`."""
        if not _is_usual():
            with usual_settings():
                return self.answers(prepared, forward)
        forward = forward or self._features
        with torch.inference_mode():
            raw = forward(self.backbone.preprocess.normalise(prepared)).cpu()  # N×D
            features, slices, head = raw.double(), self.backbone.slices, self.head
            stages = [features[:, slices[name]] for name in head.stages]
            if head.unit and not head.flip_tta:  # flip TTA averages stages of unit length already
                stages = [F.normalize(stage, dim=1) for stage in stages]
            x: NDArray[np.float64] = torch.cat(stages, dim=1).numpy()
        probabilities, familiarity = head.probabilities(x), self.familiarity
        compared = None if familiarity is None else raw[:, slices[familiarity.stage]].numpy()
        measured = None if familiarity is None or compared is None else familiarity.measure(compared)
        sets = None if self.conformal is None else self.conformal.sets(probabilities)
        return Answers(self.classes, probabilities, familiarity, measured=measured, sets=sets, compared=compared)

    def copy(self) -> Classifier:
        """Another classifier with its own network, so that changing one leaves the other unchanged."""
        return Classifier(
            self.backbone.copy(), self.head, self.card, familiarity=self.familiarity, conformal=self.conformal
        )

    def save(self, path: str | Path) -> Path:
        """Write everything into one .safetensors file, whole or not at all."""
        low = self.backbone.low_precision
        in_int8 = {} if low is None else low.scales  # they are in the quantised network, and are not stored twice
        tensors = {f"backbone.{key}": value for key, value in self.backbone.state().items() if key not in in_int8}
        if low is not None and low.model:
            tensors[INT8] = torch.frombuffer(bytearray(low.model), dtype=torch.uint8)
            tensors |= {f"{SCALE}{name}": scale for name, scale in in_int8.items()}
        tensors["head.weight"] = torch.from_numpy(np.ascontiguousarray(self.head.weight))
        tensors["head.bias"] = torch.from_numpy(np.ascontiguousarray(self.head.bias))
        if self.head.kernel is not None:
            tensors["head.landmarks"] = torch.from_numpy(np.ascontiguousarray(self.head.kernel.landmarks))
        tensors |= {} if self.familiarity is None else familiarity_tensors(self.familiarity)
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
        backbone, card, tensors, familiarity = read_classifier(Path(path), module)
        head = Head(
            kind=card.head,
            stages=card.stages,
            weight=tensors.weight,
            bias=tensors.bias,
            temperature=float(card.temperature),
            unit=card.unit,
            flip_tta=card.flip_tta,
            kernel=tensors.kernel,
        )
        conformal = read_conformal(card.conformal, len(card.classes))
        loaded = cls(backbone, head, card, familiarity=familiarity, conformal=conformal)
        loaded._fast = _FastForward(backbone)
        return loaded


class _FastForward:
    """The engine that this machine has measured to be the fastest, for a classifier as it was in its file.

    It is made at the first prediction. It holds copies of the weights: once the network is changed, the network itself
    answers.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._changes = None if backbone.unbuilt else self._count()

    @cached_property
    def _forward(self) -> Forward | None:
        return measured_forward(self.backbone, runtime.cache_folder())

    def _count(self) -> int:
        return sum(tensor._version for tensor in self.backbone.tensors)  # torch counts each change in place

    @property
    def current(self) -> Forward | None:
        """The forward pass; None: the network's own."""
        return self._forward if self._is_unchanged else None

    @property
    def _is_unchanged(self) -> bool:
        if self.backbone.unbuilt:
            return True
        return self._count() == (self.backbone.loaded if self._changes is None else self._changes)

    def __getstate__(self) -> dict[str, object]:  # another process chooses its own engine, and counts from 0
        return {"backbone": self.backbone, "_changes": None if self._is_unchanged else _CHANGED}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        if self._changes is None and not self.backbone.unbuilt:
            self._changes = self._count()


def _is_usual() -> bool:
    """Whether torch computes as ever: see `usual_settings`, which costs one more file on the way of an image."""
    default = torch.get_default_dtype() is torch.float32 and torch.get_default_device().type == "cpu"
    return default and not torch.is_autocast_enabled("cpu")


def _is_path(source: object) -> bool:
    """Whether it is a path as it stands: the usual case, which needs no look at other kinds."""
    return isinstance(source, Path) or (isinstance(source, str) and "://" not in source)


def _check_one(path: Path) -> None:
    """Refuse what is no image at all; a pipe may be one."""
    if not os.path.exists(path):  # noqa: PTH110
        raise DataError(expected="an image file", found="no such file", where=path)
    if path.is_dir():
        hint = "For all of its images: headstart.predict(classifier, folder)."
        raise DataError(expected="an image file", found="a folder", where=path, hint=hint)


def _named(source: Any, *, bgr: bool, network: bool) -> tuple[str, Readable]:
    if _is_path(source):
        return str(source), Path(source)
    return name_of(source), readable_image(source, bgr=bgr, network=network)
