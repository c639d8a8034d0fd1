"""Embedding: neighbours as scikit-learn finds them, planted overlaps and strangers named, the map of PCA by SVD."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from headstart.backbones.backbone import load_backbone
from headstart.data.images import open_image
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.heads.knn import nearest
from headstart.inspection.features.embedding import embedding
from headstart.inspection.features.neighbourhood import isolated, mixing, purity, strangers
from headstart.inspection.inspected_images import InspectedImages


def groups(per_group: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four groups of directions: a and b are one cloud, c and d stand apart."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(4, 12))
    centres[1] = centres[0]
    labels = np.repeat(np.arange(4), per_group)
    return centres[labels] + rng.normal(size=(4 * per_group, 12)), labels


def images_of_vectors(x: np.ndarray, labels: np.ndarray | None = None) -> InspectedImages:
    pixels = torch.from_numpy(x).float()[:, :, None, None]
    names = tuple(f"{i}.png" for i in range(len(x)))
    known = None if labels is None else torch.from_numpy(labels)
    prepared = torch.zeros(len(x), 3, 16, 16, dtype=torch.uint8)
    return InspectedImages(pixels, names, prepared, known, ("a", "b", "c", "d"))


class Through(nn.Module):
    """Gives the images' numbers as they are, then a top."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Flatten()
        self.top = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.features(x))


def test_mixing_counts_neighbours_by_class_with_chance_of_drawn_labels():
    rows = np.array([[1, 3], [0, 2], [3, 4], [4, 0], [3, 5], [1, 2]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = {(one.of, one.among): one for one in mixing(rows, labels, 0)}
    assert [found[key].share for key in ((0, 0), (0, 1), (1, 0), (1, 1))] == [0.5, 0.5, 0.5, 0.5]
    assert found[0, 0].chance == pytest.approx(2 / 5)
    assert found[0, 1].chance == pytest.approx(3 / 5)
    assert purity(rows, labels).tolist() == [0.5, 1, 0, 0.5, 1, 0]
    assert strangers(rows, labels).tolist() == [2, 5]


def test_intervals_of_mixing_cover_the_true_share_as_often_as_they_say():
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1], [40, 60])
        foreign = rng.random((100, 10)) < 0.3
        rows = np.where(foreign == (labels == 0)[:, None], 99, 0)
        (one,) = [m for m in mixing(rows, labels, seed) if (m.of, m.among) == (0, 1)]
        hits += one.low <= 0.3 <= one.high
    assert 0.90 <= hits / 200 <= 0.98


def test_classes_that_are_one_cloud_overlap_and_others_do_not():
    x, labels = groups()
    look = embedding(Through(), images_of_vectors(x, labels))
    assert look.stages == ("features",)
    assert look.interpretation[0].startswith("Classes that overlap: ")
    assert "a among b" in look.interpretation[0]
    assert "c" not in look.interpretation[0].split(";")[0].replace("Classes", "")
    apart = labels != 1
    fewer = embedding(Through(), images_of_vectors(x[apart], labels[apart]))
    assert fewer.interpretation[0].startswith("No two classes overlap much")


def far_apart(sizes: list[int]) -> InspectedImages:
    """So many images of each class, every class in a direction of its own."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    x = 10 * np.eye(len(sizes), 12)[labels] + 0.1 * np.random.default_rng(0).normal(size=(len(labels), 12))
    images = images_of_vectors(x, labels)
    return replace(images, classes=tuple(f"c{i}" for i in range(len(sizes))))


@pytest.mark.parametrize("sizes", [[4, 4, 4], [30, 3, 2, 30], [2] * 12])
def test_small_classes_far_apart_do_not_overlap_however_many_neighbours_are_asked(sizes):
    look = embedding(Through(), far_apart(sizes))
    assert [(one.share, one.low) for one in look.mixed if one.of == one.among] == [(1.0, 1.0)] * len(sizes)
    assert [one.k for one in look.mixed if one.of == one.among] == [min(10, size - 1) for size in sizes]
    assert look.interpretation[0].startswith("No two classes overlap much")
    assert not look.strangers


def test_a_class_of_one_image_neither_overlaps_nor_is_its_label_doubted():
    look = embedding(Through(), far_apart([40, 40, 1]))
    assert {(one.of, one.among) for one in look.mixed} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert not look.strangers
    assert look.interpretation[0].startswith("No two classes overlap much")
    assert "c2 has one image" in " ".join(look.interpretation)
    many = embedding(Through(), far_apart([1, 1, 1, 1, 1]))
    assert (many.mixed, many.strangers) == ((), ())
    assert "c0, c1, c2, c3, c4 have one image each" in " ".join(many.interpretation)


def test_a_wrong_label_and_an_image_unlike_all_others_are_named():
    x, labels = groups()
    labels[5], labels[35] = 2, 2
    x[70] = -40 * np.ones(12)
    look = embedding(Through(), images_of_vectors(x, labels))
    assert {5, 35} <= set(look.strangers)
    assert look.lonely[:1] == (70,)
    text = " ".join(look.interpretation)
    assert "5.png (c)" in text
    assert "Unlike all others: 70.png" in text


def test_nobody_is_lonely_in_one_cloud():
    cosines, _ = nearest(np.random.default_rng(0).normal(size=(300, 20)), None, 10)
    assert len(isolated(cosines, 3.5)) <= 3


def test_the_map_is_the_pca_of_scikit_learn_up_to_mirroring():
    x, labels = groups()
    look = embedding(Through(), images_of_vectors(x, labels))
    unit = x.astype(np.float32).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    library = PCA(2, svd_solver="full").fit(unit)
    np.testing.assert_allclose(np.abs(look.places), np.abs(library.transform(unit)), atol=1e-6)
    assert look.kept == pytest.approx(library.explained_variance_ratio_.sum())


def test_t_sne_is_repeatable_and_keeps_clouds_apart():
    x, labels = groups(12)
    looks = [embedding(Through(), images_of_vectors(x, labels), method="t-sne", seed=3) for _ in range(2)]
    np.testing.assert_array_equal(looks[0].places, looks[1].places)
    assert looks[0].kept is None
    assert "t-sne" in looks[0].interpretation[-1]
    centres = [looks[0].places[labels == one].mean(0) for one in (2, 3)]
    spread = looks[0].places[labels == 2].std()
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread


def test_a_classifiers_features_are_those_its_head_takes(small_classifier):
    model = small_classifier(True)
    pixels = torch.rand(6, 3, 64, 64)
    look = embedding(model, pixels)
    assert look.stages == model.head.stages
    assert not look.mixed
    assert embedding(model, pixels, stage="stage1").stages == ("stage1",)


def test_it_is_an_insight_with_pictures_that_do_not_lie_on_each_other():
    x, labels = groups()
    look = embedding(Through(), images_of_vectors(x, labels))
    json.dumps(look.to_dict(), allow_nan=False)
    pictures = look._pictures([])
    assert 8 <= len(pictures) <= 48
    spread = np.ptp(look.places, axis=0)
    places = look.places[list(pictures)] / spread
    gaps = np.abs(places[:, None] - places[None]).max(-1)
    assert gaps[~np.eye(len(places), dtype=bool)].min() > 1 / 11
    figure = look.figure()
    assert len(figure.axes[0].artists) == len(look._pictures([*look.strangers, *look.lonely]))
    assert "120 images" in look.description


def test_what_cannot_be_mapped_is_refused(small_classifier):
    x, labels = groups()
    with pytest.raises(DataError, match="5 images"):
        embedding(Through(), images_of_vectors(x[:4], labels[:4]))
    with pytest.raises(RecipeError, match="pca"):
        embedding(Through(), images_of_vectors(x), method="pcb")
    with pytest.raises(BackboneError, match="stage"):
        embedding(Through(), images_of_vectors(x), stage="nowhere")
    with pytest.raises(RecipeError, match="pip install umap-learn"):
        embedding(Through(), images_of_vectors(x), method="umap")


@pytest.mark.slow
def test_a_swarm_of_bees_that_looks_like_a_heap_of_ants_is_a_stranger_among_real_photographs(test_data):
    weights = str(test_data / "weights" / "resnet18_imagenet.safetensors")
    backbone = load_backbone("resnet18", weights=weights)
    files = [path for name in ("ants", "bees") for path in sorted((test_data / "hymenoptera" / "val" / name).iterdir())]
    prepared = torch.stack([backbone.preprocess.prepare(open_image(path).rgb) for path in files])
    labels = torch.tensor([int(path.parent.name == "bees") for path in files])
    names = tuple(path.name for path in files)
    images = InspectedImages(backbone.preprocess.normalise(prepared), names, prepared, labels, ("ants", "bees"))
    look = embedding(backbone, images)
    assert "2709775832_85b4b50a57.jpg" in [names[i] for i in look.strangers]  # seen: a hive's comb full of bees
    assert all(one.share > 0.75 for one in look.mixed if one.of == one.among)
    assert "No two classes overlap much" in look.interpretation[0]
