"""The audit reports what is wrong with a data set, and nothing in a set without problems."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from audited_images import balanced, by_kind, images, ordinary, samples
from drawn_scenes import cropped, mirrored, resized, save, scene
from headstart.data.audit.audit import Audit, AuditSettings, audit, audit_images
from headstart.data.finding import SEVERITIES
from headstart.data.image_index import ImageIndex
from headstart.data.image_set import scan
from headstart.errors import DataError


def draw_set(root: Path, count: int = 12) -> Path:
    """Two classes in two splits, each image another scene."""
    for k, split in enumerate(("train", "test")):
        for j, label in enumerate(("ant", "bee")):
            for i in range(count):
                save(root / split / label / f"{'xyzw'[2 * k + j]}{i}.png", scene(100 * k + 50 * j + i, (96, 72)))
    return root


def audited(root: Path, index: Path, **options: object) -> Audit:
    opened = ImageIndex(index)
    try:
        return audit_images(scan(root), opened, AuditSettings(**options))[1]  # type: ignore[arg-type]
    finally:
        opened.close()


@pytest.mark.slow
def test_a_data_set_without_problems_has_no_findings(tmp_path: Path) -> None:
    found = audited(draw_set(tmp_path / "set"), tmp_path / "index")

    assert found.findings == ()
    assert (found.images, found.unreadable, found.duplicate_groups, found.leaks) == (48, (), (), ())
    assert found.groups_for_split == (None,) * 48


@pytest.mark.slow
def test_duplicates_in_and_across_splits_and_with_two_labels_are_distinguished(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set")
    train, test = root / "train", root / "test"
    shutil.copy(train / "ant" / "x0.png", train / "ant" / "again.png")
    save(train / "bee" / "wrong.bmp", Image.open(train / "ant" / "x1.png"))
    save(test / "ant" / "seen.jpg", resized(0.8)(Image.open(train / "ant" / "x2.png")), quality=80)
    save(test / "bee" / "flipped.png", mirrored(Image.open(train / "bee" / "y3.png")))
    save(test / "bee" / "twice.png", cropped(0.04, 0, 0.05, 0.03)(Image.open(test / "bee" / "w4.png")))

    found = audited(root, tmp_path / "index")

    kinds = by_kind(found.findings)
    assert set(kinds) == {"leak", "two-labels", "duplicate", "near-duplicate"}
    assert kinds["leak"].groups == (
        ("test/ant/seen.jpg", "train/ant/x2.png"),
        ("test/bee/flipped.png", "train/bee/y3.png"),
    )
    assert kinds["two-labels"].groups == (("train/ant/x1.png", "train/bee/wrong.bmp"),)
    assert kinds["duplicate"].groups == (
        ("train/ant/again.png", "train/ant/x0.png"),
        ("train/ant/x1.png", "train/bee/wrong.bmp"),
    )
    assert len(kinds["near-duplicate"].groups) == 3
    names = [sample.name for sample in scan(root).samples]
    assert [names[i] for i in found.leaks] == ["test/ant/seen.jpg", "test/bee/flipped.png"]
    numbers = [found.groups_for_split[names.index(name)] for name in ("test/bee/twice.png", "test/bee/w4.png")]
    assert numbers[0] == numbers[1] is not None
    assert "2 images outside training (2 in test) have a duplicate in training" in kinds["leak"].message


def test_validation_leaks_too_and_training_never_does() -> None:
    rows = samples(("train/a/0", "train"), ("validation/a/1", "validation"), ("test/a/2", "test"), ("test/a/3", "test"))
    found = audit(images(rows, ordinary(4), duplicates=[(0, 1), (2, 3)], classes=("a",)))

    assert found.leaks == (1,)
    assert "(1 in validation) has a duplicate" in by_kind(found.findings)["leak"].message


@pytest.mark.parametrize(
    ("count", "size", "is_oversized"),
    [(38, 3, False), (100, 20, False), (100, 21, True), (500, 25, False), (500, 26, True)],
)
def test_an_oversized_group_is_reported_and_not_used_for_splitting(count: int, size: int, is_oversized: bool) -> None:
    group = tuple(range(0, 2 * size, 2))
    found = audit(images(balanced(count), ordinary(count), duplicates=[(1, 3), group]))

    assert found.oversized_groups == ((group,) if is_oversized else ())
    assert ("oversized-group" in by_kind(found.findings)) is is_oversized
    assert all((found.groups_for_split[i] is None) is is_oversized for i in group)
    assert found.groups_for_split[1] == found.groups_for_split[3] is not None
    assert group in found.duplicate_groups  # still reported
    assert by_kind(found.findings)["near-duplicate"].detail["count"] == (1 if is_oversized else 2)


def test_equal_pixels_are_one_picture_whatever_their_number() -> None:
    equal, similar = tuple(range(0, 50, 2)), tuple(range(1, 51, 2))
    facts = ordinary(100)
    for i in equal:
        facts[i] = replace(facts[i], pixels="same")
    facts[3] = replace(facts[3], pixels=facts[1].pixels)
    found = audit(images(balanced(100), facts, duplicates=[equal, similar]))

    assert found.oversized_groups == (similar,)
    numbers = found.groups_for_split
    assert {numbers[i] for i in equal} == {numbers[0]} != {None}
    assert numbers[1] == numbers[3] not in (None, numbers[0])
    assert all(numbers[i] is None for i in similar[2:])


def with_broken_images(root: Path, count: int) -> Path:
    """Forty images, so many of which cannot be read."""
    draw_set(root, count=10)
    for i in range(count):
        (root / "train" / "ant" / f"x{i}.png").write_bytes(b"\x89PNG and nothing more")
    return root


@pytest.mark.slow
def test_five_percent_unreadable_images_are_a_finding(tmp_path: Path) -> None:
    found = audited(with_broken_images(tmp_path / "set", 2), tmp_path / "index")

    assert len(found.unreadable) == len(by_kind(found.findings)["unreadable"].names) == 2


@pytest.mark.slow
def test_more_than_five_percent_unreadable_images_are_an_error_with_names_and_reasons(tmp_path: Path) -> None:
    root = with_broken_images(tmp_path / "set", 3)

    with pytest.raises(DataError, match="3 of 40") as caught:
        audited(root, tmp_path / "index")

    assert "train/ant/x0.png: truncated or damaged" in str(caught.value)
    assert len(audited(root, tmp_path / "index", max_bad_share=0.1).unreadable) == 3


@pytest.mark.slow
def test_the_findings_of_the_scan_and_of_the_index_come_first(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set")
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "index").write_text("in the way")

    kinds = by_kind(audited(root, tmp_path / "index").findings)

    assert set(kinds) == {"skipped", "index-not-saved"}


@pytest.mark.slow
def test_an_audit_is_strict_json_with_known_severities(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", count=4)
    shutil.copy(root / "train" / "ant" / "x0.png", root / "test" / "bee" / "leak.png")
    found = audited(root, tmp_path / "index")

    shown = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert shown["leaks"] == shown["exact_duplicate_groups"] == 1
    assert {finding["severity"] for finding in shown["findings"]} <= set(SEVERITIES)
    assert {"leak", "two-labels", "small-class"} <= {finding["kind"] for finding in shown["findings"]}


@pytest.mark.parametrize(
    "order", [sorted, lambda names: sorted(names, reverse=True), lambda names: names[3:] + names[:3]]
)
def test_findings_do_not_depend_on_the_order_of_the_images(order: Callable[[list[int]], Sequence[int]]) -> None:
    facts = ordinary(40)
    facts[9] = facts[5]
    rows = balanced()
    turned = list(order(list(range(40))))
    place = {i: k for k, i in enumerate(turned)}
    duplicates = [tuple(sorted((place[5], place[9]))), tuple(sorted((place[10], place[20])))]

    found = audit(images([rows[i] for i in turned], [facts[i] for i in turned], duplicates=duplicates))

    kinds = by_kind(found.findings)
    assert {frozenset(group) for group in kinds["duplicate"].groups} == {frozenset(("b/5.png", "b/9.png"))}
    assert {frozenset(group) for group in kinds["near-duplicate"].groups} == {frozenset(("a/10.png", "a/20.png"))}


@pytest.mark.slow
def test_rps28_has_no_leak_although_train_and_test_share_names(test_data: Path, tmp_path: Path) -> None:
    """`testscissors01` is a hand in train and another one in test; some frames of each are used here."""
    root = tmp_path / "set"
    for split, step in (("train", 24), ("test", 6)):
        for path in sorted((test_data / "rps28" / split).rglob("*.png"))[::step]:
            target = root / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    save(root / "test" / "rock" / "planted.png", Image.open(next((root / "train" / "rock").iterdir())).resize((56, 56)))

    found = audited(root, tmp_path / "index")

    assert found.images > 160
    assert len(found.leaks) == 1
    assert by_kind(found.findings)["leak"].groups[0][0] == "test/rock/planted.png"
    assert len(found.duplicate_groups) <= 2
