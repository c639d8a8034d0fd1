"""Descriptors of pictures: what each family sees, and what it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.curation.descriptors import _ring, _squeezed, cheap_descriptors, full_descriptors, sessions
from headstart.data.dataset import Dataset, load_dataset
from headstart.data.jpeg_header import JpegHeader
from headstart.recipe import Recipe


def loaded(folder: Path) -> Dataset:
    return load_dataset(folder, Recipe(), progress=lambda name, unit: lambda done, total: None)


def correlation(x: np.ndarray, labels: np.ndarray) -> float:
    """The largest correlation of a column with the labels."""
    return float(max(abs(np.corrcoef(column, labels)[0, 1]) for column in x.T))


@pytest.mark.slow
def test_a_border_is_seen_by_the_border_and_a_centre_is_not(photos: Path, tmp_path: Path) -> None:
    for name in ("disc", "square"):
        (tmp_path / name).mkdir()
        for path in sorted((photos / name).iterdir())[:12]:
            with Image.open(path) as image:
                rgb = np.asarray(image).copy()
            if name == "disc":
                rgb[:3], rgb[-3:], rgb[:, :3], rgb[:, -3:] = ([255, 0, 0],) * 4
            Image.fromarray(rgb).save(tmp_path / name / path.name)
    dataset = loaded(tmp_path)
    found = full_descriptors(dataset, range(len(dataset)), lambda done, total: None)
    assert correlation(found["border"], dataset.labels) > 0.6
    assert found["metadata"].shape == found["session"].shape == (24, 0)
    for x in found.values():
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-9)

    pictures = {name: x.copy() for name, x in found.items()}
    with Image.open(dataset.samples[0].path) as image:
        rgb = np.asarray(image).copy()
    rgb[18:30, 18:30] = 0  # the centre
    Image.fromarray(rgb).save(dataset.samples[0].path)
    changed = full_descriptors(dataset, range(len(dataset)), lambda done, total: None)
    np.testing.assert_array_equal(changed["border"], pictures["border"])
    assert not np.array_equal(changed["blurred picture"], pictures["blurred picture"])


@pytest.mark.slow
def test_numbers_of_names_are_seen_and_folders_are_not(photos: Path) -> None:
    dataset = loaded(photos)
    names = [f"{'ab'[label]}/photo{label * 1000 + i}.png" for i, label in enumerate(dataset.labels % 2)]
    found = cheap_descriptors(dataset.facts, names)
    assert set(found) == {"metadata", "file name", "border", "inside", "blurred picture"}
    assert correlation(found["file name"], dataset.labels % 2) > 0.5
    same = cheap_descriptors(dataset.facts, [f"{label}/photo7.png" for label in dataset.labels])
    assert same["metadata"].shape[1] == same["file name"].shape[1] == 0  # one size, one format, one number


def test_a_subject_in_the_middle_of_a_side_leaves_the_border_as_it_is() -> None:
    grey = np.full((3, 32, 32, 1), 100, dtype=np.uint8)
    grey += np.arange(3, dtype=np.uint8)[:, None, None, None]  # three pictures that differ
    covered = grey.copy()
    covered[1, :12, 10:22] = 250  # reaches the upper side in its middle
    before, after = (_ring(_squeezed(pictures, 16)) for pictures in (grey, covered))
    assert before.shape == (3, 8)  # four medians, four corners
    np.testing.assert_allclose(before[0], 100 / 255)
    np.testing.assert_array_equal(before, after)
    framed = grey.copy()
    framed[1, :4], framed[1, -4:], framed[1, :, :4], framed[1, :, -4:] = (200,) * 4
    inner = [_ring(_squeezed(pictures, 16)[:, 2:-2, 2:-2]) for pictures in (grey, framed)]
    np.testing.assert_array_equal(*inner)  # a border is not inside
    assert _ring(_squeezed(framed, 16))[1, 0] == 200 / 255


def test_a_session_ends_with_an_hour_without_a_photograph() -> None:
    headers = [
        JpegHeader(camera="A", taken=0.0),
        JpegHeader(camera="A", taken=3000.0),
        JpegHeader(camera="B", taken=3000.0),
        JpegHeader(camera="A", taken=10_000.0),
        JpegHeader(camera="A"),
    ]
    assert sessions(headers) == ["A #0", "A #0", "B #0", "A #1", ""]
