"""A small set to fine-tune on: drawn images as prepared pixels, a CIFAR ResNet with random weights, a solved head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from drawn_photos import draw_folder
from headstart.backbones.backbone import Backbone, build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.data.images import open_image
from headstart.features.cache import FeatureCache
from headstart.features.matrix import Features
from headstart.features.row_file import fill_rows, open_rows
from headstart.finetune.augmentation import NONE, centre
from headstart.finetune.settings import FineTuneImages, FineTuneSettings, FineTuneTask
from headstart.heads.head import Head
from headstart.heads.linear_probe import TrainingRows, fit_linear_probe

SPEC = SPECS["cifar_resnet20"]
STILL = FineTuneSettings(epochs=2, lr=1e-3, batch_size=8, augmentation=NONE)


def make_images(folder: Path) -> FineTuneImages:
    """36 training and 12 held-out pictures of three classes."""
    paths = sorted(draw_folder(folder / "photos").rglob("*.png"))
    names = sorted({path.parent.name for path in paths})
    labels = np.array([names.index(path.parent.name) for path in paths])
    preprocess = build_backbone(SPEC).preprocess
    contents = tuple(path.name for path in paths)
    pixels = open_rows(
        FeatureCache(folder / "cache", 1e9), {"what": "pixels"}, contents, shapes=[(3, 32, 32)], dtype="uint8"
    )
    fill_rows(
        pixels,
        lambda places: (torch.stack([preprocess.prepare(open_image(paths[i]).rgb) for i in places]).numpy(),),
        batch_size=16,
    )
    held = np.arange(len(paths)) % 4 == 0
    rows = np.arange(len(paths))
    return FineTuneImages(
        pixels=pixels,
        rows=rows[~held],
        labels=labels[~held],
        validation_rows=rows[held],
        validation_labels=labels[held],
        contents=contents,
    )


def task(
    made: Backbone, head: Head, images: FineTuneImages, settings: FineTuneSettings = STILL, **more: Any
) -> FineTuneTask:
    """A task of the four values that every test has."""
    return FineTuneTask(backbone=made, head=head, images=images, settings=settings, **more)


def backbone() -> Backbone:
    made = build_backbone(SPEC, seed=3)
    with torch.no_grad():
        for name, buffer in made.network.named_buffers():
            if name.endswith("running_var"):
                buffer.mul_(0.7)  # statistics that are not those of the batch
    return made


def features_of(made: Backbone, images: FineTuneImages, rows: np.ndarray) -> Features:
    stored = torch.from_numpy(images.pixels.read(rows)[0])
    matrix = made.features(made.preprocess.normalise(centre(stored, 32))).numpy()
    names = tuple(images.contents[i] for i in rows)
    return Features(matrix, {stage: (s.start, s.stop) for stage, s in made.slices.items()}, names, names)


def make_head(images: FineTuneImages) -> Head:
    made = backbone()
    features = features_of(made, images, images.rows)
    none = np.array([], dtype=np.int64)
    order = np.arange(len(images.rows))
    training = TrainingRows(
        rows=order, labels=images.labels, groups=order, classes=3, validation_rows=none, validation_labels=none
    )
    layers = {"auto": made.spec.choose_stages("auto")}
    return fit_linear_probe(features, training, layers=layers, kind="ridge", balance="none").head


def scores_of(made: Backbone, head: Head, images: FineTuneImages) -> np.ndarray:
    """Scores of the held-out images, by the backbone's features and the head."""
    view = features_of(made, images, images.validation_rows)
    rows = np.arange(len(images.validation_rows))
    return head.scores(np.concatenate([x for _, x in view.view(rows, head.stages, unit=head.unit).blocks()]))
