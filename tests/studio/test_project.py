"""The project: classes and images as they lie in the folder, changed and undone, as the scan of training sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from headstart.data.image_set import scan
from headstart.errors import DataError
from headstart.studio.project import Project
from studio.studio_client import lay_images, png


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_images(tmp_path / "p", ants=3, bees=2)


def test_what_the_studio_keeps_is_no_finding_of_the_scan(folder: Path) -> None:
    before = scan(folder).findings
    Project(folder).relabel(ids(Project(folder), "ants")[:1], "bees")

    assert (folder / ".headstart").is_dir()
    assert scan(folder).findings == before


def counts(folder: Path) -> dict[str, int]:
    return dict(Counter(sample.label or "" for sample in scan(folder, least_classes=1).samples))


def content(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*.png") if ".headstart" not in path.parts}


def incoming(project: Project, seed: int) -> Path:
    path = project.folder / ".headstart" / "incoming" / str(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(seed))
    return path


def ids(project: Project, label: str) -> list[object]:
    return [picture.id for picture in project.look().pictures if picture.label == label]


def test_every_change_is_seen_by_training_and_can_be_undone(folder: Path) -> None:
    project, before = Project(folder), content(folder)

    project.relabel(ids(project, "ants")[:2], "bees")
    assert counts(folder) == {"ants": 1, "bees": 4}
    project.rename_class("bees", "wasps")
    assert counts(folder) == {"ants": 1, "wasps": 4}
    project.merge_classes("wasps", "ants")
    assert counts(folder) == {"ants": 5}
    assert project.look().classes == ("ants",)
    project.delete(ids(project, "ants")[:4])
    assert counts(folder) == {"ants": 1}
    project.make_class("gulls")
    assert project.look().counts() == {"ants": 1, "gulls": 0}
    project.delete_class("ants")
    assert project.look().counts() == {"gulls": 0}

    for _ in range(6):
        assert Project(folder).undo()

    assert counts(folder) == {"ants": 3, "bees": 2}
    assert content(folder) == before
    assert Project(folder).undo() == ""


def test_files_of_one_name_do_not_replace_each_other(folder: Path) -> None:
    project, before = Project(folder), content(folder)  # both classes have ax.png

    project.merge_classes("bees", "ants")
    project.add(incoming(project, 50), "ants", name="ax.png", suffix=".png")

    assert content(folder) == {*before, png(50)}


def test_a_hold_is_one_group_of_train_wherever_its_frames_go(folder: Path) -> None:
    from headstart.data.bursts import find_groups

    project = Project(folder)
    for seed in range(5):
        project.add(incoming(project, seed), "ants", name="frame", suffix=".png", burst="hold-20261128-141500-3fa9")
    project.relabel([p.id for p in project.look().pictures if p.burst][:2], "bees")

    samples = scan(folder).samples
    (groups,) = find_groups(samples, "auto")
    assert Counter(groups) == {"hold-20261128-141500-3fa9": 5, None: 5}
    assert {s.label for s, group in zip(samples, groups, strict=True) if group} == {"ants", "bees"}


@pytest.mark.parametrize("burst", ["../x", "hold", "hold-20261128-141500-3fa9/../../x", "a" * 200])
def test_a_burst_of_another_name_is_refused(folder: Path, burst: str) -> None:
    project = Project(folder)
    with pytest.raises(DataError, match="recording"):
        project.add(incoming(project, 9), "ants", name="frame", suffix=".png", burst=burst)


@pytest.mark.parametrize("name", ["../ants", "", "ants/", "gulls", None, 3])
def test_a_class_that_is_not_there_is_refused(folder: Path, name: object) -> None:
    project, before = Project(folder), content(folder)
    for change in (lambda: project.delete_class(name), lambda: project.relabel(ids(project, "ants"), name),
                   lambda: project.merge_classes("ants", name), lambda: project.rename_class(name, "x")):  # fmt: skip
        with pytest.raises(DataError):
            change()
    assert content(folder) == before


def test_a_name_that_is_taken_is_refused_in_any_case_of_letters(folder: Path) -> None:
    project = Project(folder)
    for name in ("ants", "ANTS"):
        with pytest.raises(DataError, match="free"):
            project.make_class(name)
    with pytest.raises(DataError, match="free"):
        project.rename_class("bees", "Ants")
    assert project.rename_class("bees", "Bees") == "Bees"  # the same class, in other letters


def test_what_others_do_in_the_folder_is_seen(folder: Path) -> None:
    project = Project(folder)
    assert project.look().counts() == {"ants": 3, "bees": 2}
    revision = project.revision

    (folder / "gulls").mkdir()
    (folder / "gulls" / "g.png").write_bytes(png(77))

    assert project.look().counts() == {"ants": 3, "bees": 2, "gulls": 1}
    assert project.revision != revision


def test_a_folder_with_splits_gets_new_images_in_training_and_renames_all(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        lay_images(tmp_path / f"x{number}", ants=2, bees=2)
        (tmp_path / f"x{number}").rename(tmp_path / split)
    project = Project(tmp_path)

    project.add(incoming(project, 60), "ants", name="new.png", suffix=".png")
    project.make_class("gulls")
    project.rename_class("bees", "wasps")

    assert (tmp_path / "train" / "ants" / "new.png").exists()
    assert (tmp_path / "train" / "gulls").is_dir()
    assert {(s.split, s.label) for s in scan(tmp_path).samples} == {
        (split, label) for split in ("train", "validation") for label in ("ants", "wasps")
    }


def test_labels_of_a_table_are_read_and_not_changed(folder: Path) -> None:
    (folder / "labels.csv").write_text("path,label\nants/ax.png,one\nbees/ax.png,two\n")
    project = Project(folder)

    assert "table" in project.look().editable
    with pytest.raises(DataError, match="folder per class"):
        project.make_class("gulls")


def test_an_empty_folder_and_one_that_is_missing_are_empty_projects(tmp_path: Path) -> None:
    project = Project(tmp_path / "new")

    assert project.look().pictures == ()
    project.make_class("ants")
    project.add(incoming(project, 1), "ants", name="x", suffix=".png")
    assert project.look().counts() == {"ants": 1}


def test_a_file_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(DataError, match="a folder"):
        Project(tmp_path / "f")


_CHANGES = """
import os, random, signal, sys, time
from pathlib import Path
from headstart.errors import HeadstartError
from headstart.studio.project import Project

folder, images = Path(sys.argv[1]), sorted(sys.argv[2:])

def change(project, rng):
    kind, classes = rng.randrange(7), list(project.look().classes)
    shown = [one.id for one in project.look().pictures]
    if kind == 0:
        path = folder / ".headstart" / "incoming" / f"{rng.getrandbits(60):x}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(Path(images[0]).read_bytes() + b"%d" % rng.getrandbits(60))
        project.add(path, rng.choice(classes), name="n", suffix=".png")
    elif kind == 1 and len(classes) < 6:
        project.make_class(f"class {rng.getrandbits(40)}")
    elif kind == 2:
        project.rename_class(rng.choice(classes), f"name {rng.getrandbits(40)}")
    elif kind == 3 and len(classes) > 3:
        project.merge_classes(*rng.sample(classes, 2))
    elif kind == 4 and len(shown) > 12:
        project.delete(rng.sample(shown, 3))
    elif kind == 5:
        project.relabel(rng.sample(shown, 4), rng.choice(classes))
    else:
        project.undo()

def lost(before):
    now = {p.read_bytes() for p in folder.rglob("*") if p.is_file() and "journal" not in p.name}
    return len(before - now)

for seed in range(20):
    Project(folder)  # completes what the last kill interrupted
    before = {p.read_bytes() for p in folder.rglob("*") if p.is_file() and "journal" not in p.name}
    child = os.fork()
    if child == 0:
        rng, project = random.Random(seed), Project(folder)
        while True:
            try:
                change(project, rng)
            except HeadstartError:  # such as a name that is taken
                continue
    time.sleep(random.Random(seed).uniform(0.005, 0.12))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    project = Project(folder)
    assert lost(before) == 0, seed
    seen = [one.place for one in project.look().pictures]
    assert all((folder / place).is_file() for place in seen), seen
while project.undo():
    pass
print(sum(one.label is not None for one in project.look().pictures))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_twenty_kills_at_random_moments_lose_no_image(folder: Path) -> None:
    before, images = content(folder), [str(path) for path in sorted(folder.rglob("*")) if path.is_file()]

    found = subprocess.run([sys.executable, "-c", _CHANGES, str(folder), *images], capture_output=True, text=True,
                           check=False)  # fmt: skip

    assert found.returncode == 0, found.stderr
    assert before <= content(folder)
    assert int(found.stdout) == len(images)  # all changes undone, also those that a kill interrupted


def test_runs_lie_in_runs_and_are_no_classes(folder: Path, run_folder: Path) -> None:
    import shutil

    shutil.copytree(run_folder, folder / "runs" / "first")
    project = Project(folder)

    assert [path.name for path in project.runs()] == ["first"]
    assert project.look().classes == ("ants", "bees")
