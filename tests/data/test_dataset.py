"""Dataset: duplicates stay together, and those on both sides of a split are counted."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from drawn_scenes import save, scene
from headstart.data.image_index import read_facts
from headstart.data.images import ImageRules
from headstart.errors import DataError, RecipeError
from headstart.workbench.session import Session


def with_saves(root: Path, saves: int, count: int = 12) -> Path:
    """Two classes of `count` scenes; of one scene there are so many JPEG files more."""
    for k, label in enumerate(("ant", "bee")):
        for i in range(count):
            save(root / label / f"{'xy'[k]}{i}.png", scene(100 * k + i, (96, 72)))
    for i in range(saves):
        save(root / "ant" / f"{'abcdefghijklmnopqrstuvwxyz'[i]}.jpg", scene(0, (96, 72)), quality=94 - i)
    return root


@pytest.mark.slow
def test_three_copies_of_one_picture_stay_on_one_side_of_a_small_set(tmp_path: Path) -> None:
    dataset = Session().dataset(with_saves(tmp_path / "set", 2))
    (group,) = dataset.duplicate_groups

    assert [dataset.samples[i].name for i in group] == ["ant/a.jpg", "ant/b.jpg", "ant/x0.png"]
    for seed in range(6):
        split = dataset.with_split(0.2, seed)
        assert len(set(group) & set(split.indices("test").tolist())) in (0, 3)
        assert not split.leaked_test().any()


@pytest.mark.slow
def test_duplicates_on_both_sides_of_our_own_split_are_counted_as_leaks(tmp_path: Path) -> None:
    whole = Session().dataset(with_saves(tmp_path / "set", 24, count=20))
    (group,) = whole.audit.oversized_groups
    assert len(group) == 25

    for seed in range(3):
        dataset = whole.with_split(0.2, seed)
        samples, test = dataset.samples, dataset.indices("test")
        tested = [i for i in test if samples[i].name == "ant/x0.png" or samples[i].path.suffix == ".jpg"]

        assert 0 < len(tested) < 25
        assert test[dataset.leaked_test()].tolist() == tested


@pytest.mark.slow
def test_persons_in_training_and_test_are_a_problem_for_audit_and_train(tmp_path: Path) -> None:
    root = with_saves(tmp_path / "set", 0)
    table = root / "labels.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "group"])
        for i, path in enumerate(sorted(root.rglob("*.png"))):
            name = path.relative_to(root).as_posix()
            writer.writerow([name, path.parent.name, "test" if i % 3 == 0 else "train", f"person{i // 2}"])

    (finding,) = (one for one in hs.audit(table).findings if one.kind == "group-across-splits")

    assert finding.severity == "problem"
    assert finding.detail == {"count": 8, "images": {"test": 8}}
    assert "for example 'person0' (ant/x0.png in test, ant/x1.png in train)" in finding.message
    assert finding in Session().dataset(table).findings()  # what train reports


@pytest.mark.slow
def test_a_pattern_groups_for_the_audit_too_and_a_wrong_one_is_said(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for part in ("train", "test"):
        with_saves(root / part, 0)

    def crossing(group_by: str) -> list[str]:
        return [one.kind for one in hs.audit(root, group_by=group_by).findings if one.kind == "group-across-splits"]

    assert crossing("auto") == crossing("parent") == []
    assert crossing(r"/[xy](\d)") == ["group-across-splits"]
    with pytest.raises(RecipeError, match="regular expression"):
        hs.audit(root, group_by="(")


@pytest.mark.slow
def test_labels_counts_and_splits_agree_with_the_folders(photos: Path) -> None:
    dataset = Session().dataset(photos).with_split(0.2, 0)

    names = [dataset.classes[label] for label in dataset.labels]
    assert names == [sample.path.parent.name for sample in dataset.samples]
    assert dataset.labels.dtype == np.int64
    for split, counts in dataset.counts().items():
        for name, count in counts.items():
            assert count == sum(s == split and n == name for s, n in zip(dataset.splits, names, strict=True))
    assert sorted([*dataset.indices("train"), *dataset.indices("test")]) == list(range(48))


@pytest.mark.slow
def test_facts_are_those_of_the_files(photos: Path) -> None:
    dataset = Session().dataset(photos)
    files = zip(dataset.contents, dataset.samples, strict=True)

    assert dataset.facts == tuple(read_facts(content, one.path.read_bytes(), ImageRules()) for content, one in files)


@pytest.mark.slow
def test_a_dataset_cannot_be_changed(photos: Path) -> None:
    dataset = Session().dataset(photos)
    with pytest.raises(ValueError, match="read-only"):
        dataset.labels[0] = 1
    with pytest.raises(AttributeError):
        dataset.samples = ()  # type: ignore[misc]


@pytest.mark.slow
def test_without_a_split_its_parts_are_refused_with_the_way_out(photos: Path) -> None:
    with pytest.raises(DataError, match="with_split"):
        Session().dataset(photos).indices("train")


@pytest.mark.slow
def test_a_subset_keeps_labels_contents_and_whole_groups_of_duplicates(tmp_path: Path) -> None:
    dataset = Session().dataset(with_saves(tmp_path / "set", 2))
    (group,) = dataset.duplicate_groups
    chosen = [*group, group[0] + 5]

    subset = dataset.subset(chosen)

    assert [sample.name for sample in subset.samples] == [dataset.samples[i].name for i in chosen]
    assert subset.labels.tolist() == dataset.labels[chosen].tolist()
    assert subset.contents == tuple(dataset.contents[i] for i in chosen)
    assert subset.duplicate_groups == ((0, 1, 2),)


@pytest.mark.slow
def test_labels_in_another_order_are_minus_one_for_unknown_classes(photos: Path) -> None:
    dataset = Session().dataset(photos)
    other = dataset.labels_in((dataset.classes[2], "zebra", dataset.classes[0]))
    assert other.tolist() == [{0: 2, 1: -1, 2: 0}[int(label)] for label in dataset.labels]


@pytest.mark.slow
def test_a_frame_has_a_row_for_each_image(photos: Path) -> None:
    pytest.importorskip("pandas")
    dataset = Session().dataset(photos).with_split(0.2, 0)
    frame = dataset.to_frame()
    assert list(frame["name"]) == [sample.name for sample in dataset.samples]
    assert tuple(frame["split"]) == dataset.splits
    assert tuple(frame["sha256"]) == dataset.contents
