"""Images of a fine-tuning: held-out ones are whole groups, each image is decoded once, classes can weigh the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.backbones.backbone import load_backbone
from headstart.workbench.fine_tune_images import fine_tune_images, fine_tune_rows
from headstart.workbench.session import Session


@pytest.mark.slow
def test_held_out_images_are_training_images_of_other_groups(photos: Path) -> None:
    dataset = Session().dataset(photos).with_split(0.2, 0)

    rows = fine_tune_rows(dataset, 0)

    assert set(rows.train) | set(rows.held_out) == set(dataset.indices("train"))
    groups = dataset.groups()
    assert not set(groups[rows.train]) & set(groups[rows.held_out])
    assert rows.about == f"{len(rows.held_out)} training images held out"


@pytest.mark.slow
def test_pixels_are_the_images_at_the_size_the_views_are_cut_from(photos: Path) -> None:
    session = Session(options={"balance": "equal"})
    dataset = session.dataset(photos).with_split(0.2, 0)
    rows = fine_tune_rows(dataset, 0)

    images = fine_tune_images(session, load_backbone("embedded"), dataset, rows=rows)

    assert images.labels.tolist() == dataset.labels[rows.train].tolist()
    assert images.validation_labels.tolist() == dataset.labels[rows.held_out].tolist()
    assert [images.contents[i] for i in images.rows] == [dataset.contents[i] for i in rows.train]
    (pixels,) = images.pixels.read(np.arange(len(images.contents)))
    assert pixels.dtype == np.uint8
    assert images.class_weights is not None
    counts = np.bincount(images.labels)
    np.testing.assert_allclose(np.array(images.class_weights) * counts, len(images.labels) / 3)
