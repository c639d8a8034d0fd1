"""Embedding: neighbours as scikit-learn finds them, planted overlaps and outliers named, the map of PCA by SVD."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from headstart.backbones.backbone import build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS
from headstart.data.images import open_image
from headstart.errors import BackboneError, DataError, RecipeError
from headstart.inspection.features.embedding import embedding
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
    return InspectedImages(pixels, names, prepared=prepared, labels=known, classes=("a", "b", "c", "d"))


class Through(nn.Module):
    """Returns the numbers of the images as they are, then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Flatten()
        self.top = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.features(x))


def test_classes_that_are_one_cloud_overlap_and_others_do_not():
    x, labels = groups()
    result = embedding(Through(), images_of_vectors(x, labels))
    assert result.stages == ("features",)
    assert result.interpretation[0].startswith("Overlapping classes: ")
    assert "a among b" in result.interpretation[0]
    assert "c" not in result.interpretation[0].split(";")[0].replace("Overlapping classes", "")
    apart = labels != 1
    fewer = embedding(Through(), images_of_vectors(x[apart], labels[apart]))
    assert fewer.interpretation[0].startswith("No classes overlap much")


def far_apart(sizes: list[int]) -> InspectedImages:
    """So many images of each class, every class in a direction of its own."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    x = 10 * np.eye(len(sizes), 12)[labels] + 0.1 * np.random.default_rng(0).normal(size=(len(labels), 12))
    images = images_of_vectors(x, labels)
    return replace(images, classes=tuple(f"c{i}" for i in range(len(sizes))))


@pytest.mark.parametrize("sizes", [[4, 4, 4], [30, 3, 2, 30], [2] * 12])
def test_small_classes_far_apart_do_not_overlap_however_many_neighbours_are_compared(sizes):
    result = embedding(Through(), far_apart(sizes))
    assert [(one.share.value, one.share.low) for one in result.overlaps if one.of == one.among] == [(1.0, 1.0)] * len(
        sizes
    )
    assert [one.k for one in result.overlaps if one.of == one.among] == [min(10, size - 1) for size in sizes]
    assert result.interpretation[0].startswith("No classes overlap much")
    assert not result.class_outliers


def test_a_class_of_one_image_neither_overlaps_nor_is_an_outlier():
    result = embedding(Through(), far_apart([40, 40, 1]))
    assert {(one.of, one.among) for one in result.overlaps} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert not result.class_outliers
    assert result.interpretation[0].startswith("No classes overlap much")
    assert "c2 has one image" in " ".join(result.interpretation)
    many = embedding(Through(), far_apart([1, 1, 1, 1, 1]))
    assert (many.overlaps, many.class_outliers) == ((), ())
    assert "c0, c1, c2, c3, c4 have one image each" in " ".join(many.interpretation)


def test_a_wrong_label_and_an_outlier_are_named():
    x, labels = groups()
    labels[5], labels[35] = 2, 2
    x[70] = -40 * np.ones(12)
    result = embedding(Through(), images_of_vectors(x, labels))
    assert {5, 35} <= set(result.class_outliers)
    assert result.outliers[:1] == (70,)
    text = " ".join(result.interpretation)
    assert "5.png (c)" in text
    assert "1 outlier, far from all other images: 70.png" in text


def test_the_map_is_the_pca_of_scikit_learn_up_to_flips():
    x, labels = groups()
    result = embedding(Through(), images_of_vectors(x, labels))
    unit = x.astype(np.float32).astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    library = PCA(2, svd_solver="full").fit(unit)
    np.testing.assert_allclose(np.abs(result.positions), np.abs(library.transform(unit)), atol=1e-6)
    assert result.explained_variance == pytest.approx(library.explained_variance_ratio_.sum())


@pytest.mark.slow
def test_t_sne_is_repeatable_and_keeps_clouds_apart():
    x, labels = groups(12)
    results = [embedding(Through(), images_of_vectors(x, labels), method="t-sne", seed=3) for _ in range(2)]
    np.testing.assert_array_equal(results[0].positions, results[1].positions)
    assert results[0].explained_variance is None
    assert "t-SNE" in results[0].interpretation[-1]
    centres = [results[0].positions[labels == one].mean(0) for one in (2, 3)]
    spread = results[0].positions[labels == 2].std()
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread


def test_a_classifiers_features_are_those_its_head_takes(small_classifier):
    model = small_classifier(True)
    pixels = torch.rand(6, 3, 64, 64)
    result = embedding(model, pixels)
    assert result.stages == model.head.stages
    assert not result.overlaps
    assert embedding(model, pixels, stage="stage1").stages == ("stage1",)


def test_a_stage_may_be_named_by_the_path_of_its_module():
    backbone, pixels = build_backbone(SPECS["cifar_resnet20"]), torch.rand(6, 3, 32, 32)
    by_name, by_path = (embedding(backbone, pixels, stage=stage) for stage in ("stage2", "layer2"))
    assert by_path.stages == ("stage2",)
    np.testing.assert_array_equal(by_name.positions, by_path.positions)


def test_thumbnails_do_not_cover_each_other():
    x, labels = groups()
    result = embedding(Through(), images_of_vectors(x, labels))
    json.dumps(result.to_dict(), allow_nan=False)
    pictures = result._pictures([])
    assert 8 <= len(pictures) <= 48
    spread = np.ptp(result.positions, axis=0)
    places = result.positions[list(pictures)] / spread
    gaps = np.abs(places[:, None] - places[None]).max(-1)
    assert gaps[~np.eye(len(places), dtype=bool)].min() > 1 / 11
    figure = result.figure()
    assert len(figure.axes[0].artists) == len(result._pictures([*result.class_outliers, *result.outliers]))
    assert "120 images" in result.description


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
def test_a_swarm_of_bees_that_resembles_a_heap_of_ants_is_a_class_outlier_among_real_photographs(test_data):
    weights = str(test_data / "weights" / "resnet18_imagenet.safetensors")
    backbone = load_backbone("resnet18", weights=weights)
    files = [path for name in ("ants", "bees") for path in sorted((test_data / "hymenoptera" / "val" / name).iterdir())]
    prepared = torch.stack([backbone.preprocess.prepare(open_image(path).rgb) for path in files])
    labels = torch.tensor([int(path.parent.name == "bees") for path in files])
    names = tuple(path.name for path in files)
    pixels = backbone.preprocess.normalise(prepared)
    images = InspectedImages(pixels, names, prepared=prepared, labels=labels, classes=("ants", "bees"))
    result = embedding(backbone, images)
    assert "2709775832_85b4b50a57.jpg" in [names[i] for i in result.class_outliers]  # seen: a hive's comb full of bees
    assert all(one.share.value > 0.75 for one in result.overlaps if one.of == one.among)
    assert "No classes overlap much" in result.interpretation[0]
