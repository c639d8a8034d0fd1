"""Class distances: nearest means as scikit-learn finds them, variance between classes against chance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid

from headstart.inspection.features.class_distances import between_classes, nearest_mean


def features_and_labels(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 3], [9, 7, 5])
    x = rng.normal(size=(21, 6)) + 0.8 * rng.normal(size=(4, 6))[labels]
    return torch.from_numpy(x), torch.from_numpy(labels)


def test_the_nearest_mean_is_that_of_scikit_learn_with_each_image_left_out():
    x, labels = features_and_labels()
    unit = (x / x.norm(dim=1, keepdim=True)).numpy()
    hits = 0
    for i in range(len(unit)):
        others = np.arange(len(unit)) != i
        hits += int(
            NearestCentroid().fit(unit[others], labels.numpy()[others]).predict(unit[i : i + 1])[0] == labels[i]
        )
    assert 0 < hits < 21
    assert nearest_mean(x, labels) == (hits, 21)


def test_an_image_alone_in_its_class_is_not_classified():
    x, labels = features_and_labels()
    labels[-5:-1] = 1
    assert nearest_mean(x, labels)[1] == 20


def test_random_labels_give_the_share_of_chance():
    rng = torch.Generator().manual_seed(0)
    shares = [
        between_classes(torch.randn(40, 30, generator=rng), torch.randint(0, 3, (40,), generator=rng))
        for _ in range(60)
    ]
    assert np.mean(shares) == pytest.approx(2 / 39, rel=0.05)
    x = torch.eye(2, dtype=torch.float64).repeat_interleave(4, 0)
    assert between_classes(x, torch.tensor([0] * 4 + [1] * 4)) == pytest.approx(1.0)
