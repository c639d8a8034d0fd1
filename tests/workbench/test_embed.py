"""embed: the features that training uses, for anything that is an image, computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

import headstart as hs
from headstart.backbones.backbone import load_backbone
from headstart.data.images import open_image
from headstart.errors import DataError, RecipeError
from headstart.progress import Event, Notice, Progress

OPTIONS = {"backbone": "embedded", "engine": "eager", "offline": True}


@pytest.mark.slow
def test_rows_are_the_network_s_own_features_of_each_image(photos: Path) -> None:
    files = sorted((photos / "disc").iterdir())
    backbone = load_backbone("embedded")

    found = hs.embed(photos / "disc", layers="all", **OPTIONS)

    assert found.names == tuple(map(str, files))
    assert found.matrix.dtype == np.float32
    assert found.matrix.shape == (len(files), sum(backbone.widths))
    prepared = backbone.preprocess.prepare(open_image(files[2]).rgb)
    expected = backbone.features(backbone.preprocess.normalise(prepared[None]))[0]
    np.testing.assert_allclose(found.matrix[2], expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_layers_are_columns_in_forward_order(photos: Path) -> None:
    whole = hs.embed(photos, layers="all", **OPTIONS)
    pooled = hs.embed(photos, layers="pooled", **OPTIONS)
    two = hs.embed(photos, layers="stage4,stage2", **OPTIONS)

    begin, end = whole.slices["stage4"]
    np.testing.assert_array_equal(pooled.matrix, whole.matrix[:, begin:end])
    assert pooled.slices == {"stage4": (0, end - begin)}
    assert list(two.slices) == ["stage2", "stage4"]
    np.testing.assert_array_equal(two.matrix[:, slice(*two.slices["stage4"])], pooled.matrix)


@pytest.mark.slow
def test_arrays_give_the_rows_of_their_files_and_each_is_computed_once(photos: Path) -> None:
    files = sorted(photos.rglob("*.png"))[:4]
    events: list[Event] = []

    by_file = hs.embed(files, **OPTIONS)
    by_array = hs.embed([open_image(file).rgb for file in files], **OPTIONS)
    again = hs.embed([*files, open_image(files[0]).rgb], on_event=events.append, **OPTIONS)

    np.testing.assert_allclose(by_array.matrix, by_file.matrix, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(again.matrix[:4], by_file.matrix)
    assert by_array.names == ("<array>",) * 4
    assert not [event for event in events if isinstance(event, Progress)]  # all of it was in the cache


@pytest.mark.slow
def test_which_weights_of_a_checkpoint_were_taken_and_that_they_are_dead_is_said(photos: Path, tmp_path: Path) -> None:
    state = {name: torch.zeros_like(one) for name, one in torchvision.models.resnet18().state_dict().items()}
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "both.pt")
    events: list[Event] = []

    options = OPTIONS | {"backbone": "resnet18", "weights": str(tmp_path / "both.pt"), "size": 64}
    found = hs.embed(sorted((photos / "disc").iterdir())[:2], on_event=events.append, **options)

    assert (found.matrix == found.matrix[0]).all()
    said = [event.text for event in events if isinstance(event, Notice)]
    assert any("entry state_dict (not both.pt#state_dict_ema)" in text for text in said), said
    assert "Constant features: stage2, stage3, stage4 give the same numbers for all images." in said


@pytest.mark.slow
def test_a_backbone_of_one_s_own_is_taken(photos: Path) -> None:
    own = load_backbone("random", seed=3)

    found = hs.embed(photos / "disc", backbone=own, layers="pooled", engine="eager")

    assert found.matrix.shape[1] == own.widths[-1]


def test_what_cannot_be_read_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        hs.embed(tmp_path / "empty.png", **OPTIONS)
    with pytest.raises(DataError, match="at least one image"):
        hs.embed([], **OPTIONS)


def test_a_table_of_another_kind_is_refused_before_any_image_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"a file \.parquet.*e\.csv"):
        hs.embed(tmp_path / "no such folder", out=tmp_path / "e.csv", **OPTIONS)
