"""The audit names what is wrong with a set, and says nothing of what is right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from drawn_scenes import cropped, mirrored, resized, save, scene
from headstart.data.audit.audit import Audit, AuditSettings, audit, audit_images
from headstart.data.audit.check import AuditInput
from headstart.data.finding import SEVERITIES, Finding
from headstart.data.image_index import ImageFacts, ImageIndex
from headstart.data.image_set import Sample, scan
from headstart.errors import DataError


def samples(*rows: tuple[str, str | None]) -> list[Sample]:
    """Samples named PART/LABEL/FILE, or LABEL/FILE where the part is None."""
    out = []
    for name, part in rows:
        out.append(Sample(Path(name), name, name.split("/")[-2], part))
    return out


def plain(count: int, **changed: object) -> list[ImageFacts]:
    """Facts of so many different, ordinary images."""
    return [
        ImageFacts(f"c{i}", f"p{i}", **{"width": 200, "height": 150, "format": "PNG", "mode": "RGB", **changed})  # type: ignore[arg-type]
        for i in range(count)
    ]


def balanced(count: int = 40, part: str | None = None) -> list[Sample]:
    return samples(*((f"{'ab'[i % 2]}/{i}.png", part) for i in range(count)))


def by_kind(found: Audit) -> dict[str, Finding]:
    return {finding.kind: finding for finding in found.findings}


def draw_set(root: Path, count: int = 12) -> Path:
    """Two classes in two parts, every scene another."""
    for k, part in enumerate(("train", "test")):
        for j, label in enumerate(("ant", "bee")):
            for i in range(count):
                save(root / part / label / f"{'xyzw'[2 * k + j]}{i}.png", scene(100 * k + 50 * j + i, (96, 72)))
    return root


def looked_at(root: Path, index: Path, **options: object) -> Audit:
    opened = ImageIndex(index)
    try:
        return audit_images(scan(root), opened, AuditSettings(**options))[1]  # type: ignore[arg-type]
    finally:
        opened.close()


def given(
    rows: Sequence[Sample],
    facts: Sequence[ImageFacts],
    *,
    duplicates: Sequence[tuple[int, ...]] = (),
    classes: Sequence[str] = ("a", "b"),
) -> AuditInput:
    return AuditInput(
        samples=tuple(rows), facts=tuple(facts), classes=tuple(classes), duplicate_groups=tuple(duplicates)
    )


def test_a_sound_set_has_no_findings(tmp_path: Path) -> None:
    found = looked_at(draw_set(tmp_path / "set"), tmp_path / "index")

    assert found.findings == ()
    assert (found.images, found.unreadable, found.duplicate_groups, found.leaks) == (48, (), (), ())
    assert found.groups_for_split == (None,) * 48


def test_copies_inside_and_across_parts_and_under_two_labels_are_told_apart(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set")
    train, test = root / "train", root / "test"
    shutil.copy(train / "ant" / "x0.png", train / "ant" / "again.png")
    save(train / "bee" / "wrong.bmp", Image.open(train / "ant" / "x1.png"))
    save(test / "ant" / "seen.jpg", resized(0.8)(Image.open(train / "ant" / "x2.png")), quality=80)
    save(test / "bee" / "flipped.png", mirrored(Image.open(train / "bee" / "y3.png")))
    save(test / "bee" / "twice.png", cropped(0.04, 0, 0.05, 0.03)(Image.open(test / "bee" / "w4.png")))

    found = looked_at(root, tmp_path / "index")

    kinds = by_kind(found)
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
    found = audit(given(rows, plain(4), duplicates=[(0, 1), (2, 3)], classes=("a",)))

    assert found.leaks == (1,)
    assert "(1 in validation) has a duplicate" in by_kind(found)["leak"].message


def test_exact_copies_count_once_as_exact_and_not_as_near() -> None:
    facts = plain(40)
    facts[1] = facts[0]
    found = audit(given(balanced(), facts, duplicates=[(0, 1)], classes=("a", "b")))

    assert found.exact_duplicate_groups == ((0, 1),)
    assert "near-duplicate" not in by_kind(found)
    assert by_kind(found)["duplicate"].message.startswith("1 image is an exact duplicate")


def test_a_near_copy_beside_exact_ones_is_told_as_both() -> None:
    facts = plain(60)
    facts[2] = facts[0]
    found = audit(given(balanced(60), facts, duplicates=[(0, 2, 4)], classes=("a", "b")))

    assert by_kind(found)["duplicate"].groups == (("a/0.png", "a/2.png"),)
    assert by_kind(found)["near-duplicate"].groups == (("a/0.png", "a/2.png", "a/4.png"),)


@pytest.mark.parametrize(
    ("count", "size", "is_oversized"),
    [(38, 3, False), (100, 20, False), (100, 21, True), (500, 25, False), (500, 26, True)],
)
def test_a_group_above_twenty_and_a_twentieth_is_reported_and_not_used_for_splitting(
    count: int, size: int, is_oversized: bool
) -> None:
    group = tuple(range(0, 2 * size, 2))
    found = audit(given(balanced(count), plain(count), duplicates=[(1, 3), group], classes=("a", "b")))

    assert found.oversized_groups == ((group,) if is_oversized else ())
    assert ("oversized-group" in by_kind(found)) is is_oversized
    assert all((found.groups_for_split[i] is None) is is_oversized for i in group)
    assert found.groups_for_split[1] == found.groups_for_split[3] is not None
    assert group in found.duplicate_groups  # still told
    assert by_kind(found)["near-duplicate"].detail["count"] == (1 if is_oversized else 2)  # "stays on one side"


def test_equal_pixels_are_one_picture_however_many_they_are() -> None:
    equal, alike = tuple(range(0, 50, 2)), tuple(range(1, 51, 2))
    facts = plain(100)
    for i in equal:
        facts[i] = replace(facts[i], pixels="same")
    facts[3] = replace(facts[3], pixels=facts[1].pixels)
    found = audit(given(balanced(100), facts, duplicates=[equal, alike], classes=("a", "b")))

    assert found.oversized_groups == (alike,)
    numbers = found.groups_for_split
    assert {numbers[i] for i in equal} == {numbers[0]} != {None}
    assert numbers[1] == numbers[3] not in (None, numbers[0])
    assert all(numbers[i] is None for i in alike[2:])


@pytest.mark.parametrize(
    ("counts", "severity"),
    [((30, 30), None), ((30, 10), None), ((31, 10), "note"), ((100, 10), "note"), ((101, 10), "warning")],
)
def test_imbalance_is_said_from_three_to_one_and_warned_of_from_ten(
    counts: tuple[int, int], severity: str | None
) -> None:
    rows = samples(*((f"{label}/{i}", None) for label, n in zip("ab", counts, strict=True) for i in range(n)))
    kinds = by_kind(audit(given(rows, plain(len(rows)), duplicates=[], classes=("a", "b"))))

    assert kinds["imbalance"].severity == severity if severity else "imbalance" not in kinds
    if severity:
        assert kinds["imbalance"].detail["counts"] == dict(zip("ab", counts, strict=True))


@pytest.mark.parametrize(
    ("count", "severity"), [(10, None), (9, "warning"), (2, "warning"), (1, "problem"), (0, "problem")]
)
def test_a_class_that_is_too_small_is_named(count: int, severity: str | None) -> None:
    rows = samples(*((f"{label}/{i}", None) for label, n in (("a", 12), ("rare", count)) for i in range(n)))
    kinds = by_kind(audit(given(rows, plain(len(rows)), duplicates=[], classes=("a", "rare"))))

    if severity is None:
        assert "small-class" not in kinds
    else:
        assert kinds["small-class"].severity == severity
        assert kinds["small-class"].detail["counts"] == {"rare": count}
        assert f"'rare' ({count})" in kinds["small-class"].message


def test_only_readable_training_images_count_for_the_size_of_a_class() -> None:
    rows = samples(
        *((f"train/{'ab'[i % 2]}/{i}", "train") for i in range(24)), *((f"test/a/{i}", "test") for i in range(50))
    )
    facts = plain(74)
    for i in (0, 2, 4):
        facts[i] = ImageFacts(f"c{i}", error="truncated")
    kinds = by_kind(audit(given(rows, facts, duplicates=[], classes=("a", "b"))))

    assert kinds["small-class"].detail["counts"] == {"a": 9}
    assert "imbalance" not in kinds
    assert kinds["unreadable"].detail["reasons"] == {f"train/a/{i}": "truncated" for i in (0, 2, 4)}


def test_a_set_with_a_test_part_alone_is_not_called_empty() -> None:
    """As when a classifier is evaluated on somebody's test images: nothing is learnt from them."""
    assert audit(given(balanced(40, "test"), plain(40), duplicates=[], classes=("a", "b"))).findings == ()


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (31, 31, "shorter than 32 px"),
        (900, 200, "more than 4 times as long"),
        (2000, 1700, "eight times smaller or larger"),
    ],
)
def test_odd_sizes_are_named(width: int, height: int, words: str) -> None:
    facts = plain(40)
    facts[7] = plain(8, width=width, height=height)[7]
    finding = by_kind(audit(given(balanced(), facts, duplicates=[], classes=("a", "b"))))["unusual-size"]

    assert (finding.severity, finding.names) == ("note", ("b/7.png",))
    assert words in finding.message


@pytest.mark.parametrize(("width", "height"), [(32, 32), (800, 200), (1200, 1199)])
def test_sizes_at_the_limits_are_not_odd(width: int, height: int) -> None:
    facts = plain(40)
    facts[7] = plain(8, width=width, height=height)[7]
    assert audit(given(balanced(), facts, duplicates=[], classes=("a", "b"))).findings == ()


def test_conversions_are_gathered_by_kind_whatever_their_numbers() -> None:
    facts = plain(40)
    for i, note in enumerate(
        (
            "first of 3 frames",
            "first of 17 frames",
            "rotated as its EXIF tag says (6)",
            "transparency blended with the background",
        )
    ):
        facts[i] = plain(1, notes=(note,))[0]
    found = audit(given(balanced(), [replace(fact, pixels=str(i)) for i, fact in enumerate(facts)]))

    messages = {finding.message: finding.names for finding in found.findings}
    assert messages["2 images: only the first frame is used."] == ("a/0.png", "b/1.png")
    assert len(messages) == 3


@pytest.mark.parametrize(("bad", "stops"), [(2, False), (3, True)])
def test_more_bad_images_than_a_twentieth_stop_with_names_and_reasons(bad: int, stops: bool, tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", count=10)
    for i in range(bad):
        (root / "train" / "ant" / f"x{i}.png").write_bytes(b"\x89PNG and nothing more")
    if not stops:
        found = looked_at(root, tmp_path / "index")
        assert len(found.unreadable) == len(by_kind(found)["unreadable"].names) == bad
        return
    with pytest.raises(DataError, match="3 of 40") as caught:
        looked_at(root, tmp_path / "index")
    assert "train/ant/x0.png: not an image" in str(caught.value)
    assert len(looked_at(root, tmp_path / "index", max_bad_share=0.1).unreadable) == 3


def test_the_findings_of_the_scan_and_of_the_memory_come_along(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set")
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "index").write_text("in the way")

    kinds = by_kind(looked_at(root, tmp_path / "index"))

    assert set(kinds) == {"skipped", "index-not-saved"}


def test_an_audit_is_strict_json_with_known_severities(tmp_path: Path) -> None:
    root = draw_set(tmp_path / "set", count=4)
    shutil.copy(root / "train" / "ant" / "x0.png", root / "test" / "bee" / "leak.png")
    found = looked_at(root, tmp_path / "index")

    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))

    assert told["leaks"] == told["exact_duplicate_groups"] == 1
    assert {finding["severity"] for finding in told["findings"]} <= set(SEVERITIES)
    assert {"leak", "two-labels", "small-class"} <= {finding["kind"] for finding in told["findings"]}


@pytest.mark.parametrize(
    "order", [sorted, lambda names: sorted(names, reverse=True), lambda names: names[3:] + names[:3]]
)
def test_findings_do_not_depend_on_the_order_of_the_images(
    order: Callable[[list[int]], Sequence[int]], tmp_path: Path
) -> None:
    facts = plain(40)
    facts[9] = facts[5]
    rows = balanced()
    turned = list(order(list(range(40))))
    place = {i: k for k, i in enumerate(turned)}
    copies = [tuple(sorted((place[5], place[9]))), tuple(sorted((place[10], place[20])))]

    found = audit(given([rows[i] for i in turned], [facts[i] for i in turned], duplicates=copies, classes=("a", "b")))

    kinds = by_kind(found)
    assert {frozenset(group) for group in kinds["duplicate"].groups} == {frozenset(("b/5.png", "b/9.png"))}
    assert {frozenset(group) for group in kinds["near-duplicate"].groups} == {frozenset(("a/10.png", "a/20.png"))}


def test_rps28_has_no_leak_although_train_and_test_share_names(test_data: Path, tmp_path: Path) -> None:
    """`testscissors01` is a hand in train and another one in test; of each some frames are looked at here."""
    root = tmp_path / "set"
    for part, step in (("train", 24), ("test", 6)):
        for path in sorted((test_data / "rps28" / part).rglob("*.png"))[::step]:
            target = root / part / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    save(root / "test" / "rock" / "planted.png", Image.open(next((root / "train" / "rock").iterdir())).resize((56, 56)))

    found = looked_at(root, tmp_path / "index")

    assert found.images > 160
    assert len(found.leaks) == 1
    assert by_kind(found)["leak"].groups[0][0] == "test/rock/planted.png"
    assert len(found.duplicate_groups) <= 2
