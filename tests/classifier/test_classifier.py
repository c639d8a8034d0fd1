"""The classifier: equal bits and equal predictions, whatever is done to it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageOps
from safetensors import safe_open
from safetensors.torch import save_file

from classifier.cards import change_card, with_flips
from drawn_photos import draw
from headstart import runtime
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.classifier.file import write_classifier
from headstart.data.images import open_image
from headstart.engines.measured import keep_measurement
from headstart.engines.onnxruntime_engine import exported
from headstart.errors import ClassifierError
from headstart.heads.kernel_map import KernelMap, signed_roots
from headstart.inspection.inspected_model import inspected_model


@pytest.mark.slow
def test_a_round_trip_gives_equal_bits_and_equal_answers(classifier: Classifier, path: Path, photos: Path) -> None:
    images = sorted(photos.rglob("*.png"))[:5]

    again = Classifier.load(path)

    for name, tensor in classifier.backbone.state().items():
        assert torch.equal(again.backbone.state()[name], tensor), name
    np.testing.assert_array_equal(again.head.weight, classifier.head.weight)
    assert again.card == classifier.card
    assert again.predict(images) == classifier.predict(images)
    assert again.save(path.with_name("again.safetensors")).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_one_image_and_many_give_the_same_numbers(classifier: Classifier, photos: Path) -> None:
    images = sorted(photos.rglob("*.png"))[:7]

    together = classifier.predict(images, workers=2)

    for image, prediction in zip(images, together, strict=True):
        alone = classifier.predict(image)
        assert alone.label == prediction.label
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-6)
        assert classifier.predict(image.read_bytes()).probabilities == pytest.approx(alone.probabilities)


def test_an_unreadable_image_is_a_prediction_with_its_reason_in_its_place(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    good = next(photos.rglob("*.png"))
    (tmp_path / "bad.png").write_bytes(b"no image")

    predictions = classifier.predict([good, tmp_path / "bad.png", good])

    assert [p.error is None for p in predictions] == [True, False, True]
    assert "not an image" in (predictions[1].error or "")
    assert predictions[0] == predictions[2]


def test_probabilities_sum_to_one_and_come_best_first(classifier: Classifier, photos: Path) -> None:
    prediction = classifier.predict(next(photos.rglob("*.png")))

    values = list(prediction.probabilities.values())
    assert sum(values) == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert prediction.top[0] == (prediction.label, prediction.probability)


def test_the_preprocessing_of_the_card_is_what_is_used(classifier: Classifier, path: Path, photos: Path) -> None:
    image = next(photos.rglob("*.png"))
    other = {**classifier.backbone.preprocess.to_dict(), "mean": [0.0, 0.0, 0.0]}

    changed = Classifier.load(change_card(path, preprocess=other))

    assert changed.backbone.preprocess.mean == (0.0, 0.0, 0.0)
    assert changed.predict(image).probabilities != pytest.approx(classifier.predict(image).probabilities, abs=1e-3)


def with_unit(plain: Classifier, unit: bool) -> Classifier:
    return Classifier(plain.backbone, replace(plain.head, unit=unit), replace(plain.card, unit=unit))


@pytest.mark.slow
@pytest.mark.parametrize("unit", [True, False])
def test_with_flip_tta_the_scores_are_the_mean_for_an_image_and_its_flip(
    classifier: Classifier, tmp_path: Path, unit: bool
) -> None:
    plain, (kind, side) = with_unit(classifier, unit), ("disc", classifier.backbone.preprocess.crop)
    picture = draw(kind, np.random.default_rng(5), side)
    picture.save(tmp_path / "one.png")
    ImageOps.mirror(picture).save(tmp_path / "two.png")
    one, two = (plain.predict(tmp_path / name).probabilities for name in ("one.png", "two.png"))
    together = {name: (one[name] * two[name]) ** 0.5 for name in one}  # means of logarithms
    expected = {name: value / sum(together.values()) for name, value in together.items()}
    model = with_flips(plain)
    assert one["ant"] != pytest.approx(two["ant"], rel=0.01)
    for file in ("one.png", "two.png"):
        assert model.predict(tmp_path / file).probabilities == pytest.approx(expected, rel=1e-4)
    (streamed,) = model.stream([tmp_path / "one.png"])
    assert streamed.probabilities == pytest.approx(expected, rel=1e-4)
    again = Classifier.load(model.save(tmp_path / "both.safetensors"))
    assert (
        again.predict(tmp_path / "one.png")
        == model.predict(tmp_path / "one.png")
        == model.copy().predict(tmp_path / "one.png")
    )


def test_backbone_and_head_that_disagree_on_flip_tta_are_no_classifier(classifier: Classifier) -> None:
    with pytest.raises(ClassifierError, match="only head"):
        Classifier(classifier.backbone, replace(classifier.head, flip_tta=True), classifier.card)


@pytest.mark.parametrize("flips", [False, True])
def test_train_mode_of_the_network_changes_no_prediction(classifier: Classifier, photos: Path, flips: bool) -> None:
    images = sorted(photos.rglob("*.png"))[:6]
    model = with_flips(classifier) if flips else classifier.copy()
    expected, before = model.predict(images), model.backbone.fingerprint

    model.backbone.network.train()

    assert model.predict(images) == expected
    assert model.backbone.fingerprint == before
    assert model.backbone.network.training


def with_kernel(classifier: Classifier) -> Classifier:
    head, rng = classifier.head, np.random.default_rng(1)
    widths = tuple(classifier.backbone.spec.stage(name).width for name in head.stages)
    marks = signed_roots(rng.random((5, sum(widths))), widths).astype(np.float32)
    made = replace(head, kind="kernel", weight=rng.normal(size=(5, 3)), kernel=KernelMap(marks, 0.7, widths))
    return Classifier(classifier.backbone, made, Card.of(classifier.backbone, made, classifier.classes))


@pytest.mark.slow
def test_a_kernel_lies_in_the_one_file_and_gives_equal_answers(
    classifier: Classifier, photos: Path, tmp_path: Path
) -> None:
    made, images = with_kernel(classifier), sorted(photos.rglob("*.png"))[:5]
    path = made.save(tmp_path / "kernel.safetensors")

    again = Classifier.load(path)

    assert again.card == made.card
    assert again.card.version == 5  # older readers would take its weight for a linear one
    assert again.head.kernel is not None
    np.testing.assert_array_equal(again.head.kernel.landmarks, made.head.kernel.landmarks)
    assert (again.head.kernel.gamma, again.head.kernel.widths) == (0.7, made.head.kernel.widths)
    assert again.predict(images) == made.predict(images)
    assert again.save(tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    for prediction in again.predict(images):
        assert prediction.error is None


@pytest.mark.parametrize("fault", ["no landmarks", "no gamma", "other width", "other number"])
def test_a_kernel_that_does_not_fit_together_is_refused(fault: str, classifier: Classifier, tmp_path: Path) -> None:
    made = with_kernel(classifier)
    marks = made.head.kernel.landmarks
    tensors = {f"backbone.{key}": value for key, value in made.backbone.state().items()}
    tensors |= {"head.weight": torch.from_numpy(made.head.weight), "head.bias": torch.from_numpy(made.head.bias)}
    wrong = {"no gamma": marks, "other width": marks[:, 1:], "other number": marks[1:]}
    if fault in wrong:
        tensors["head.landmarks"] = torch.from_numpy(np.ascontiguousarray(wrong[fault]))
    card = replace(made.card, gamma=0.0) if fault == "no gamma" else made.card

    def write_and_load() -> Classifier:  # writing reads the tensors back, loading compares them with the backbone
        return Classifier.load(write_classifier(tmp_path / "kernel.safetensors", tensors, card))

    with pytest.raises(ClassifierError, match=r"landmarks|features"):
        write_and_load()


def test_an_inspected_model_with_a_kernel_gives_the_logits_of_the_classifier(
    classifier: Classifier, photos: Path
) -> None:
    made, image = with_kernel(classifier), sorted(photos.rglob("*.png"))[0]
    pixels = made.backbone.preprocess.normalise(made.backbone.preprocess.prepare(open_image(image).rgb)[None])
    with torch.inference_mode():
        probabilities = inspected_model(made).logits(pixels).softmax(1)[0].tolist()
    expected = made.predict(image).probabilities
    assert probabilities == pytest.approx([expected[name] for name in made.classes], abs=1e-4)


@pytest.mark.slow
def test_a_loaded_classifier_uses_the_measured_engine_until_its_network_is_changed(
    path: Path, photos: Path, tmp_path: Path
) -> None:
    """The engine holds copies of the weights: what is changed in place must be seen at the next prediction."""
    image = next(photos.glob("*/*.png"))
    first = Classifier.load(path)
    expected = first.predict(image).probabilities
    keep_measurement(first.backbone, {"eager": 0.02, "folded": 0.01}, runtime.cache_folder())
    model = Classifier.load(path)
    assert model._features is not model.backbone.features
    found = model.predict(image).probabilities
    assert found == pytest.approx(expected, abs=1e-5)
    assert model.copy()._fast is None

    with torch.no_grad():
        for weight in model.backbone.network.parameters():
            weight.mul_(1.1)
    changed = Classifier(model.backbone, model.head, model.card).predict(image).probabilities
    assert model.predict(image).probabilities == changed != found


@pytest.mark.slow
def test_a_kept_export_answers_without_the_network_which_is_seen_when_it_is_changed(path: Path, photos: Path) -> None:
    image = next(photos.glob("*/*.png"))
    first = Classifier.load(path)
    expected = first.predict(image).probabilities
    exported(first.backbone, runtime.cache_folder())
    keep_measurement(first.backbone, {"eager": 0.02, "onnxruntime": 0.01}, runtime.cache_folder())
    model = Classifier.load(path)
    found = model.predict(image).probabilities
    assert found == pytest.approx(expected, abs=1e-5)
    assert model.backbone.unbuilt

    with torch.no_grad():
        for weight in model.backbone.network.parameters():
            weight.mul_(1.1)
    changed = Classifier(model.backbone, model.head, model.card).predict(image).probabilities
    assert model.predict(image).probabilities == changed != found


def test_a_file_without_a_checksum_is_built_to_be_checked(path: Path, tmp_path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        text = file.metadata()["headstart"]
    save_file(tensors, tmp_path / "old.safetensors", {"headstart": text})
    assert Classifier.load(path).backbone.unbuilt
    assert not Classifier.load(tmp_path / "old.safetensors").backbone.unbuilt


@pytest.mark.slow
def test_a_classifier_travels_to_another_process(classifier: Classifier, path: Path, photos: Path) -> None:
    """Also one that has traced its network, which torch unpickles by an empty tracer."""
    images = sorted(photos.rglob("*.png"))[:3]
    again = pickle.loads(pickle.dumps(classifier))

    assert again.predict(images) == classifier.predict(images)


@pytest.mark.slow
def test_one_that_has_answered_travels_too_and_one_that_was_changed_stays_changed(path: Path, photos: Path) -> None:
    image = min(photos.rglob("*.png"))
    model = Classifier.load(path)
    found = model.predict(image)
    assert pickle.loads(pickle.dumps(model)).predict(image).probabilities == pytest.approx(found.probabilities)

    with torch.no_grad():
        for weight in model.backbone.network.parameters():
            weight.mul_(1.1)
    changed = model.predict(image).probabilities
    assert pickle.loads(pickle.dumps(model)).predict(image).probabilities == pytest.approx(changed)
    assert changed != pytest.approx(found.probabilities)
