"""What every verb does first: copies stay together, and what lies on both sides all the same is counted."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from drawn_scenes import save, scene
from headstart.errors import RecipeError
from headstart.recipe import Recipe
from headstart.workbench.prepare import Prepared, leaked_test, prepare, split_prepared


def with_saves(root: Path, saves: int, count: int = 12) -> Path:
    """Two classes of `count` scenes; of one scene there are so many JPEG files more."""
    for k, label in enumerate(("ant", "bee")):
        for i in range(count):
            save(root / label / f"{'xy'[k]}{i}.png", scene(100 * k + i, (96, 72)))
    for i in range(saves):
        save(root / "ant" / f"{'abcdefghijklmnopqrstuvwxyz'[i]}.jpg", scene(0, (96, 72)), quality=94 - i)
    return root


def look(root: Path) -> Prepared:
    return prepare(root, Recipe(), on_event=lambda event: None)


def test_three_copies_of_one_picture_stay_on_one_side_of_a_small_set(tmp_path: Path) -> None:
    prepared = look(with_saves(tmp_path / "set", 2))
    (group,) = prepared.duplicate_groups

    assert [prepared.samples[i].name for i in group] == ["ant/a.jpg", "ant/b.jpg", "ant/x0.png"]
    for seed in range(6):
        parts = split_prepared(prepared, Recipe(seed=seed))
        assert len(set(group) & set(parts.test)) in (0, 3)
        assert not leaked_test(prepared, parts).any()


@pytest.mark.parametrize("seed", range(3))
def test_copies_on_both_sides_of_our_own_split_are_counted_as_leaks(tmp_path: Path, seed: int) -> None:
    prepared = look(with_saves(tmp_path / "set", 24, count=20))
    (group,) = prepared.audit.oversized_groups
    assert len(group) == 25

    parts = split_prepared(prepared, Recipe(seed=seed))

    tested = [
        i for i in parts.test if prepared.samples[i].name == "ant/x0.png" or prepared.samples[i].path.suffix == ".jpg"
    ]
    assert 0 < len(tested) < 25
    assert np.array(parts.test)[leaked_test(prepared, parts)].tolist() == tested


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
    assert finding in prepare(table, Recipe(), on_event=lambda event: None).audit.findings  # what train tells


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
