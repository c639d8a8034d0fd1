"""A whole classifier as one model: own networks, flips, raw features, any number of images, what has no graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from headstart.backbones.backbone import Backbone  # noqa: E402
from headstart.backbones.flip_tta import FlipTTA  # noqa: E402
from headstart.classifier.classifier import Classifier  # noqa: E402
from headstart.classifier.familiarity import FamiliarImages, fit_familiarity  # noqa: E402
from headstart.classifier.rejection import KINDS, Rejection  # noqa: E402
from headstart.errors import BackboneError  # noqa: E402
from headstart.evaluation.conformal import fit_conformal  # noqa: E402
from headstart.heads.kernel_map import KernelMap  # noqa: E402
from headstart.onnx_export.classifier_onnx import build_onnx, fingerprint_of  # noqa: E402  # needs onnx
from headstart.runtime_onnx import OnnxClassifier  # noqa: E402
from small_models import SmallConvolution, make_classifier  # noqa: E402

VALUES = {"size": 32, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}


def small(unit: bool = True) -> Classifier:
    return make_classifier(unit, backbone=Backbone.from_module(SmallConvolution(), preprocess=VALUES))


def with_flips(classifier: Classifier) -> Classifier:
    backbone = classifier.backbone
    backbone.flip_tta = FlipTTA(backbone.widths, classifier.head.unit)
    head, card = replace(classifier.head, flip_tta=True), replace(classifier.card, flip_tta=True)
    return Classifier(backbone, head, card)


def with_kernel() -> Classifier:
    plain, rng = small(), np.random.default_rng(2)
    widths = tuple(plain.backbone.spec.stage(name).width for name in plain.head.stages)
    kernel = KernelMap(rng.normal(size=(9, sum(widths))).astype(np.float32), 0.5, widths)
    head = replace(plain.head, kind="kernel", weight=rng.normal(size=(9, 3)), kernel=kernel)
    return Classifier(plain.backbone, head, replace(plain.card, head="kernel"))


@pytest.mark.slow
@pytest.mark.parametrize("make", [small, lambda: small(unit=False), lambda: with_flips(small()), with_kernel])
def test_probabilities_equal_the_classifiers_for_any_number_of_images(make: object) -> None:
    classifier: Classifier = make()  # type: ignore[operator]
    model = build_onnx(classifier, input="prepared")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    batch = np.random.default_rng(0).integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)

    for count in (1, 2, 7):
        (found,) = session.run(["probabilities"], {"prepared": batch[:count]})
        images = [image.transpose(1, 2, 0) for image in batch[:count]]
        expected = [[p.probabilities[name] for name in classifier.classes] for p in classifier.predict(images)]
        assert found == pytest.approx(np.array(expected), abs=1e-6)
        assert found.sum(1) == pytest.approx(1, abs=1e-6)


def trusted(classifier: Classifier, layers: slice = slice(None)) -> Classifier:
    """With a bank of the last stage and sets; `layers`: of the head."""
    stage, rng = classifier.backbone.stages[-1], np.random.default_rng(1)
    features = rng.normal(size=(250, classifier.backbone.spec.stage(stage).width)).astype(np.float32)
    known = FamiliarImages(features, np.zeros(250, np.int64), np.arange(250), [f"{i}.png" for i in range(250)])
    head, card = classifier.head, classifier.card
    stages = head.stages[layers]
    width = sum(classifier.backbone.spec.stage(name).width for name in stages)
    head, card = replace(head, stages=stages, weight=head.weight[:width]), replace(card, stages=stages)
    conformal = fit_conformal(rng.dirichlet([1, 1, 1], 100), rng.integers(0, 3, 100), error_rate=0.3)
    return Classifier(
        classifier.backbone, head, card, familiarity=fit_familiarity(known, stage=stage), conformal=conformal
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda: trusted(small()), lambda: trusted(with_flips(small())), lambda: trusted(small(), slice(0, 1))]
)
def test_familiarity_and_sets_are_the_classifiers(make: object) -> None:
    """The last one's head does not take the stage that familiarity compares."""
    classifier: Classifier = make()  # type: ignore[operator]
    file = OnnxClassifier(build_onnx(classifier, input="prepared").SerializeToString())
    batch = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)

    rows = file.run(*batch)
    found = [file.answer(rows, i) for i in range(len(batch))]

    Rejection(KINDS).check(file.card)
    expected: Any = classifier.predict(list(batch))
    for one, answer in zip(expected, found, strict=True):
        assert answer.pop("probabilities") == pytest.approx(one.probabilities, abs=1e-6)
        assert answer.pop("probability") == pytest.approx(one.probability, abs=1e-6)
        assert answer.pop("familiarity_percentile") == pytest.approx(one.familiarity_percentile, abs=0.5)  # one of 250
        assert answer == {name: getattr(one, name) for name in answer}
        assert set(answer) == {"label", "familiar", "nearest_image", "prediction_set", "atypical"}


@pytest.mark.slow
def test_a_fingerprint_changes_with_all_that_answers_depend_on() -> None:
    one = small()
    changed = Classifier(one.backbone, replace(one.head, temperature=2.0), replace(one.card, temperature=2.0))
    other = small()
    with torch.no_grad():
        next(other.backbone.network.parameters()).add_(0.01)

    assert fingerprint_of(one) == fingerprint_of(small())
    assert fingerprint_of(trusted(one)) != fingerprint_of(one)
    assert fingerprint_of(with_kernel()) != fingerprint_of(one)
    assert len({fingerprint_of(value) for value in (one, changed, other, small(unit=False))}) == 4


class Undecided(nn.Module):
    """What it does depends on the values of its input: nothing that a graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.first(x)
        maps = maps.relu() if float(maps.sum()) > 0 else maps.tanh()
        return self.head(maps.mean((2, 3)))


def test_a_network_without_a_graph_is_refused_with_its_reason() -> None:
    classifier = make_classifier(backbone=Backbone.from_module(Undecided(), preprocess=VALUES))
    with pytest.raises(BackboneError, match="graph can be traced"):
        build_onnx(classifier)
