"""What would be noticed, against the definition; and the sentences that say it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from headstart.classifier.familiarity import FamiliarImages, fit_familiarity
from headstart.classifier.trust_evaluation import Noticed, TrustEvaluation, leave_classes_out, notice
from headstart.evaluation.conformal import SetCoverage
from headstart.evaluation.intervals import wilson

WIDTH = 16


def three_classes(count: int = 120) -> FamiliarImages:
    """Two classes that lie together, and a third far off."""
    rng, labels = np.random.default_rng(0), np.arange(3 * count) % 3
    centres = np.array([[5, 0, 0], [5, 0.2, 0], [0, 5, 5]])[labels]
    features = np.concatenate([centres, np.zeros((len(labels), WIDTH - 3))], axis=1) + rng.normal(
        size=(len(labels), WIDTH)
    )
    return FamiliarImages(features, labels, np.arange(len(labels)), [f"{i}.png" for i in range(len(labels))])


def test_each_class_left_out_is_compared_with_the_others_alone() -> None:
    images = three_classes()

    found = {one.name: one.share for one in leave_classes_out(images, ("gull", "tern", "owl"), rate=0.05)}

    for label, name in enumerate(("gull", "tern", "owl")):
        rest, own = images.features[images.labels != label], images.features[images.labels == label]
        reference = NearestNeighbors(metric="cosine")
        distances = np.sort(reference.fit(rest).kneighbors(n_neighbors=5)[0][:, -1])  # without itself
        threshold = distances[int(np.ceil(241 * 0.95)) - 1]
        beyond = reference.kneighbors(own, n_neighbors=5)[0][:, -1] > threshold
        assert found[name].value == pytest.approx(beyond.mean(), abs=0.01)
    assert found["owl"].value > 0.95
    assert found["gull"].value < 0.5  # a tern is too close
    assert found["owl"].n == 120


def test_where_the_other_classes_are_too_few_nothing_is_measured() -> None:
    assert leave_classes_out(three_classes(99), ("a", "b", "c"), rate=0.05) == ()  # 198 others


def test_the_share_that_is_noticed_is_that_beyond_the_threshold() -> None:
    images = three_classes()
    familiarity = fit_familiarity(images, stage="late")
    foreign = np.random.default_rng(1).normal(size=(50, WIDTH))

    (one,) = notice(familiarity, {"noise": foreign})

    assert familiarity.threshold is not None
    beyond = int((familiarity.measure(foreign).distances > familiarity.threshold).sum())
    assert one.share == wilson(beyond, 50)
    assert notice(replace(familiarity, threshold=None), {"noise": foreign}) == ()


def test_the_sentences_name_what_is_missed_as_plainly_as_what_is_noticed() -> None:
    sets = SetCoverage(coverage=wilson(95, 100), mean_size=1.12, alone=0.88, atypical=1, band=wilson(95, 100))
    found = TrustEvaluation(
        rate=0.05,
        reason="",
        false_rejects=wilson(12, 153),
        left_out_classes=(Noticed("gull", wilson(3, 100)), Noticed("owl", wilson(93, 100))),
        foreign=(Noticed("noise", wilson(8, 8)),),
        sets=sets,
        error_rate=0.05,
    )

    text = [sentence.replace("\u00a0", " ") for sentence in found.sentences]

    assert text[0] == "Of the test images 7.8 % [4.5, 13.2] are called unfamiliar (stated: 5 %)."
    assert "noticed owl 93.0 %, gull 3.0 %." in text[1]
    assert text[2] == "Images like gull would mostly be answered with another class: too close to tell apart."
    assert text[3] == "Of drawn pictures: noise 100.0 % noticed."
    assert "95.0 % [88.8, 97.8] of the test images (stated: 95 %" in text[4]
    assert "1.12 classes on average; 88.0 % name one class alone" in text[4]
    assert "would leave too few images or classes" in replace(found, left_out_classes=()).sentences[1]
    assert "upper bound" in replace(found, fine_tuned=True).sentences[1]
    assert "More than stated" in replace(found, false_rejects=wilson(30, 153)).sentences[0]
    assert found.to_dict()["left_out_classes"][1]["share"]["value"] == 0.93
    assert [name for name, _ in found.rows] == ["gull", "owl", "noise"]


def test_without_thresholds_the_reason_is_said() -> None:
    found = TrustEvaluation(rate=0.05, reason="too few images", no_sets="too few as well")

    assert found.sentences == ("Unfamiliar images are not rejected: too few images.",
                               "No prediction sets: too few as well.")  # fmt: skip
