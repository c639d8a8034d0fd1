"""One folder with everything that goes wrong with photographs: each fault is found and named, and training goes on."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_scenes import cropped, mirrored, resized, save, scene
from headstart.data.audit.audit import Audit
from headstart.data.finding import Finding
from headstart.errors import DataError
from headstart.workbench.audit import audit
from headstart.workbench.events import DatasetSummary, Event
from headstart.workbench.run import Run
from headstart.workbench.train import train

SIZE = (72, 60)
ORIENTATION = 0x0112
BAD = ("train/ant/bomb.png", "train/ant/cut.jpg", "train/bee/empty.png", "train/bee/text.jpg")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb() -> bytes:
    """A PNG of 60 bytes that says it holds 10 billion pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def draw_sound(root: Path) -> None:
    """Two classes that a classifier can learn (ants are on the dark side), 30 and 12 of each."""
    rng = np.random.default_rng(0)
    for k, (part, count) in enumerate((("train", 30), ("test", 12))):
        for j, label in enumerate(("ant", "bee")):
            for i in range(count):
                picture = scene(1000 * k + 100 * j + i, SIZE).point(lambda value, j=j: value * (0.5 + 0.5 * j))
                save(root / part / label / f"{rng.integers(2**40):x}.png", picture)  # no running numbers: no bursts


def plant_bad(train_part: Path) -> None:
    """Files that cannot be used, and files that have nothing to do with the set."""
    (train_part / "ant" / "bomb.png").write_bytes(bomb())
    whole = save(train_part / "ant" / "cut.jpg", scene(1, (300, 200)))
    whole.write_bytes(whole.read_bytes()[:2000])
    (train_part / "bee" / "empty.png").write_bytes(b"")
    (train_part / "bee" / "text.jpg").write_text("this is a text")
    (train_part / "ant" / "notes.txt").write_text("remember to label the rest")
    for hidden in (train_part / ".ipynb_checkpoints", train_part / "ant" / ".thumbs", train_part / "__MACOSX"):
        save(hidden / "copy.png", scene(2, SIZE))


def plant_odd(train_part: Path) -> None:
    """Images that need something done to them, each another picture."""
    ant, exif = train_part / "ant", Image.Exif()
    exif[ORIENTATION] = 6
    save(ant / "turned.jpg", scene(500, SIZE), exif=exif, quality=95)
    save(ant / "wrong_suffix.png", scene(501, SIZE), format="JPEG", quality=95)
    frames = [scene(502 + k, SIZE) for k in range(3)]
    save(ant / "animated.gif", frames[0], save_all=True, append_images=frames[1:])
    save(ant / "print.jpg", scene(506, SIZE).convert("CMYK"), quality=95)
    deep = np.asarray(scene(507, SIZE).convert("L")).astype(np.uint16) * 257
    save(ant / "deep.png", Image.fromarray(deep))
    save(ant / "see_through.png", scene(508, SIZE).quantize(64), transparency=0)
    save(ant / "tiny.png", scene(509, (24, 20)))
    save(ant / "panorama.png", scene(510, (400, 60)))


def plant_copies(root: Path) -> dict[str, str]:
    """Copies inside and across the parts; name of each → name of what it was copied from."""
    ants, bees, tests = (sorted((root / where).glob("*.png")) for where in ("train/ant", "train/bee", "test/bee"))
    made = {
        shutil.copy(ants[0], root / "train/ant/again.png"): ants[0],
        save(root / "train/ant/half.png", resized(0.5)(Image.open(ants[1]))): ants[1],
        save(root / "train/bee/relabelled.bmp", Image.open(ants[2])): ants[2],
        save(root / "test/ant/leak.jpg", Image.open(ants[3]), quality=85): ants[3],
        save(root / "test/bee/flipped.png", mirrored(Image.open(bees[-1]))): bees[-1],
        save(root / "test/bee/cut_out.png", cropped(0.05, 0.04, 0, 0.05)(Image.open(tests[0]))): tests[0],
    }
    return {copy.relative_to(root).as_posix(): source.relative_to(root).as_posix() for copy, source in made.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("walk") / "photos"
    draw_sound(root)
    plant_copies(root)
    plant_bad(root / "train")
    plant_odd(root / "train")
    for i in range(2):
        save(root / "test" / "wasp" / f"q{i}.png", scene(600 + i, SIZE))
    return root


@pytest.fixture(scope="module")
def audited(folder: Path) -> Audit:
    return audit(folder, on_event=lambda event: None)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def run(folder: Path, events: list[Event], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(
        folder,
        out=tmp_path_factory.mktemp("runs") / "photos",
        on_event=events.append,
        backbone="embedded",
        inside=False,
    )


@pytest.fixture(scope="module")
def told(run: Run, events: list[Event]) -> DatasetSummary:
    """What `train` said of the images before it began."""
    return next(event for event in events if isinstance(event, DatasetSummary))


def of_kind(audited: Audit, kind: str) -> list[Finding]:
    return [finding for finding in audited.findings if finding.kind == kind]


@pytest.mark.slow
def test_every_unreadable_image_is_named_with_its_reason(audited: Audit) -> None:
    (finding,) = of_kind(audited, "unreadable")

    assert finding.names == BAD
    reasons = finding.detail["reasons"]
    for name, words in zip(BAD, ("more than the bound", "truncated", "empty", "known format"), strict=True):
        assert words in reasons[name]


@pytest.mark.slow
def test_hidden_folders_and_other_files_are_said_and_never_counted(audited: Audit) -> None:
    said = {name for finding in of_kind(audited, "skipped") for name in finding.names}

    assert {"train/.ipynb_checkpoints", "train/ant/.thumbs", "train/__MACOSX", "train/ant/notes.txt"} <= said
    assert audited.images == 2 * (30 + 12) + 4 + 8 + 6 + 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("turned.jpg", "rotated as the EXIF tag says"),
        ("wrong_suffix.png", "suffix does not match"),
        ("animated.gif", "first frame"),
        ("deep.png", "16 bit"),
        ("see_through.png", "transparency"),
    ],
)
def test_every_converted_image_is_named_with_what_was_done(name: str, words: str, audited: Audit) -> None:
    (finding,) = (finding for finding in of_kind(audited, "converted") if words in finding.message)
    assert finding.names == (f"train/ant/{name}",)


def test_odd_sizes_are_named(audited: Audit) -> None:
    names = {finding.names for finding in of_kind(audited, "unusual-size")}
    assert ("train/ant/panorama.png",) in names
    assert any("train/ant/tiny.png" in some for some in names)


@pytest.mark.slow
def test_each_copy_is_found_with_its_source_and_no_other(folder: Path, audited: Audit, tmp_path: Path) -> None:
    again = tmp_path / "again"
    draw_sound(again)
    expected = {frozenset(pair) for pair in plant_copies(again).items()}

    found = [*of_kind(audited, "duplicate"), *of_kind(audited, "near-duplicate")]

    assert {frozenset(group) for finding in found for group in finding.groups} == expected


def test_leaks_and_the_picture_under_two_labels_are_problems(audited: Audit) -> None:
    (leak,), (labels,) = of_kind(audited, "leak"), of_kind(audited, "two-labels")

    assert {group[0] for group in leak.groups} == {"test/ant/leak.jpg", "test/bee/flipped.png"}
    assert leak.severity == labels.severity == "problem"
    assert [name for group in labels.groups for name in group if "relabelled" in name] == ["train/bee/relabelled.bmp"]


@pytest.mark.slow
def test_an_unknown_class_in_the_test_is_named_and_not_remapped(audited: Audit, run: Run) -> None:
    (finding,) = of_kind(audited, "unknown-class")

    assert "wasp" in finding.message
    assert run.classifier.classes == ("ant", "bee")
    assert run.evaluation.unknown == {"wasp": 2}


@pytest.mark.slow
def test_training_leaves_out_what_is_bad_and_says_what_it_found(run: Run, told: DatasetSummary, audited: Audit) -> None:
    used = {row["path"] for row in run.predictions()}

    assert not used & set(BAD)
    assert {"train/ant/print.jpg", "train/ant/deep.png", "train/ant/see_through.png"} <= used
    assert run.evaluation.accuracy.n == 2 * 12 + 3
    assert run.evaluation.leaked == 2
    assert {finding.kind for finding in told.findings} == {finding.kind for finding in audited.findings}


@pytest.mark.slow
def test_looking_and_training_change_no_file(folder: Path, run: Run, audited: Audit, tmp_path: Path) -> None:
    again = tmp_path / "photos"
    draw_sound(again)
    plant_copies(again)

    for path in (path for path in again.rglob("*") if path.is_file()):
        assert (folder / path.relative_to(again)).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_one_bad_image_more_than_a_twentieth_is_a_problem_and_stops_a_training(folder: Path, tmp_path: Path) -> None:
    worse = shutil.copytree(folder, tmp_path / "worse")
    for i in range(3):
        (worse / "train" / "ant" / f"worse{i}.png").write_bytes(b"")

    listed = audit(worse, on_event=lambda event: None)
    assert any("7 of 107" in finding.message and finding.severity == "problem" for finding in listed.findings)
    with pytest.raises(DataError, match="--max-bad-share"):
        train(worse, out=tmp_path / "run", on_event=lambda event: None, backbone="embedded", inside=False)
    assert not (tmp_path / "run").exists()
