"""The command line, in process: what it prints where, its exit codes, and no traceback whatever one types."""

from __future__ import annotations

import html
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headstart as hs
from command_line import Headstart
from drawn_photos import draw_folder
from headstart.cli.streams import TerminatedError


@pytest.mark.slow
def test_train_prints_dataset_plan_results_files_and_a_next_command_that_works(
    headstart: Headstart, photos: Path, tmp_path: Path
) -> None:
    answer = headstart("train", photos, "--backbone", "embedded", "--no-inside")

    assert answer.code == 0
    words = (
        "Dataset",
        "48 images of 3 classes",
        "Plan",
        "licence",
        "Results",
        "accuracy",
        "majority",
        "kNN",
        "Files written to",
        "Next:",
    )
    places = [answer.out.index(word) for word in words]
    assert places == sorted(places)
    assert "95 % interval" in answer.out
    assert "images/s" in answer.err
    written = tmp_path / "runs" / "photos"
    command = shlex.join(["headstart", "train", str(photos), "--backbone", "embedded", "--no-inside"])
    assert json.loads((written / "run.json").read_text("utf-8"))["command"] == command
    assert command in html.unescape((written / "report.html").read_text("utf-8"))

    following = answer.out.split("Next: headstart ")[1].split()

    predicted = headstart(*following[:-1], photos / "disc")

    assert predicted.code == 0
    assert predicted.out.count("disc/") == 16


@pytest.mark.slow
def test_show_says_last_where_the_page_is_and_what_comes_next(headstart: Headstart, photos: Path) -> None:
    answer = headstart("show", photos, "--most", "2")

    assert answer.code == 0
    assert Path("show.html").is_file()
    assert answer.out.split("\n")[-3:] == ["", f"Next: headstart train {photos}", ""]
    assert "show.html" in answer.out


@pytest.mark.slow
def test_json_goes_alone_to_stdout_and_begins_with_the_evaluation(headstart: Headstart, photos: Path) -> None:
    answer = headstart("train", photos, "--backbone", "embedded", "--no-inside", "--json", "--out", "here/run")

    assert answer.out.lstrip().startswith('{\n "evaluation": {\n  "accuracy": {\n   "value":')
    result = json.loads(answer.out)
    assert list(result)[:2] == ["evaluation", "baselines"]
    assert list(result["evaluation"]["accuracy"])[:4] == ["value", "low", "high", "n"]
    assert {"majority", "kNN"} <= set(result["baselines"])
    assert result["run"] == "here/run"
    assert "images/s" in answer.err


@pytest.mark.slow
def test_predict_prints_every_image_and_exits_1_when_one_cannot_be_read(
    headstart: Headstart, photos: Path, run_folder: Path
) -> None:
    Path("bad.jpg").write_bytes(b"not a photo")

    fine = headstart("predict", run_folder, photos / "disc", "--json")
    mixed = headstart("predict", run_folder / "classifier.safetensors", "bad.jpg", photos / "disc", "--csv", "p.csv")

    assert (fine.code, mixed.code) == (0, 1)
    assert len(json.loads(fine.out)) == 16
    assert "unreadable" in mixed.out
    assert "not an image" in mixed.out
    assert len(Path("p.csv").read_text().splitlines()) == 18


@pytest.mark.slow
def test_evaluate_compare_audit_and_cache_print_text_and_json(
    headstart: Headstart, photos: Path, run_folder: Path, tmp_path: Path
) -> None:
    headstart("train", photos, "--backbone", "embedded", "--no-inside", "--out", "two", "--layers", "pooled")
    other = draw_folder(tmp_path / "other", per_class=4, seed=5)
    for arguments, word in (
        (("evaluate", run_folder, other), "accuracy"),
        (("compare", run_folder, "two"), "difference"),
        (("audit", photos), "findings"),
        (("cache",), "features"),
        (("backbones",), "resnet18"),
    ):
        plain, as_json = headstart(*arguments), headstart(*arguments, "--json")
        assert (plain.code, as_json.code) == (0, 0)
        assert plain.out.strip()
        assert word in json.dumps(json.loads(as_json.out))


def test_groups_are_shown_by_their_first_images_and_only_duplicates_as_equal(
    headstart: Headstart, photos: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(photos, tmp_path / "set")
    same, *others = sorted(folder.glob("*/*.png"))
    names = [f"{number}.png" for number in range(4)]
    for name in names:
        shutil.copy(same, folder / name)
    lines = ["image,label,split,group", *(f"{name},disc,train,one" for name in names)]
    for path, part in ((others[0], "test"), (others[20], "train")):
        lines.append(f"{path.relative_to(folder)},{path.parent.name},{part},one")
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    answer = headstart("audit", folder / "table.csv")
    printed = " ".join(answer.out.split())
    assert answer.code == 0, answer.err

    assert "0.png = 1.png = 2.png and 1 more" in printed
    assert "0.png with 1.png with 2.png and 3 more" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "nowhere"),
        ("train", "photos", "--backbone", "resnet81"),
        ("train", "photos", "--head", "svm"),
        ("train", "photos", "--test-share", "7"),
        ("train", "photos", "--seed", "-1"),
        ("train", "photos", "--layers", ",,"),
        ("train", "photos", "--weights", "missing.safetensors"),
        ("train", "photos", "--backbone", "timm:hf-hub:a/b"),
        ("train", "photos", "--backbone", "embedded", "--no-inside", "--out", "a_file/run"),
        ("predict", "nowhere.safetensors", "photos"),
        ("predict", "a_file", "photos"),
        ("evaluate", "a_file", "photos"),
        ("compare", "photos", "photos"),
        ("audit", "a_file"),
    ],
)
def test_mistakes_exit_2_with_expected_found_and_next(
    headstart: Headstart, photos: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "a_file").write_text("text")

    answer = headstart(*arguments)

    assert answer.code == 2
    assert "expected:" in answer.err
    assert "found:" in answer.err
    assert answer.out == ""


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_written(
    headstart: Headstart, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("headstart.workbench.train.fit_linear_probe", interrupted)

    answer = headstart("train", photos, "--backbone", "embedded", "--no-inside")

    assert answer.code == 130
    assert "Stopped" in answer.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("step", ["parse_args", "invoke"])
def test_ctrl_c_while_the_words_are_read_ends_it_as_later(
    step: str, headstart: Headstart, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"typer.core.TyperGroup.{step}", interrupted)

    answer = headstart("backbones")

    assert answer.code == 130
    assert "Stopped" in answer.err


@pytest.mark.parametrize(("stopped", "code"), [(KeyboardInterrupt(), 130), (TerminatedError(15), 143)])
def test_a_signal_outside_of_any_command_is_no_traceback(
    stopped: BaseException, code: int, headstart: Headstart, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise stopped

    monkeypatch.setattr("headstart.cli.main._exit_code", interrupted)

    assert headstart("backbones").code == code


_CTRL_C_IN_AN_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "headstart.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background inherit that it is ignored
sys.meta_path.insert(0, Finder())
from headstart.__main__ import main
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_while_the_command_line_is_imported() -> None:
    answer = subprocess.run([sys.executable, "-c", _CTRL_C_IN_AN_IMPORT], capture_output=True, text=True, check=False)

    assert answer.returncode == -signal.SIGINT  # a shell calls it 130
    assert answer.stderr == ""


@pytest.mark.slow
def test_markup_and_control_characters_in_names_are_shown_not_obeyed(headstart: Headstart, tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", per_class=8)
    (folder / "disc").rename(folder / "[red]disc[bold]\x1b[31m")

    answer = headstart("train", folder, "--backbone", "embedded", "--no-inside")

    assert answer.code == 0
    assert "[red]disc[bold]\\x1b[31m" in answer.out.replace("\n", "")
    assert "\x1b" not in answer.out


def test_the_version_is_that_of_the_package(headstart: Headstart) -> None:
    assert headstart("--version").out == f"headstart {hs.__version__}\n"


def test_classes_are_listed_with_commas(headstart: Headstart, photos: Path) -> None:
    answer = headstart("train", photos, "--classes", "disc,Square")
    assert answer.code == 2
    assert "square (16 images), stripes (16 images)" in " ".join(answer.err.split())


@pytest.mark.parametrize(
    "words", [["audit", ""], ["train", "photos", "--out", ""], ["", "photos"], ["audit", "photos", "--review="]]
)
def test_an_empty_word_is_refused_and_not_taken_for_the_folder_one_is_in(
    headstart: Headstart, words: list[str]
) -> None:
    answer = headstart(*words)

    assert answer.code == 2
    assert f"where: {words[-1] if words[-1].startswith('--') else ''}" in " ".join(answer.err.split())
    assert "a variable of the shell" in " ".join(answer.err.split())


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps the folder that one is in")
def test_a_working_folder_that_is_gone_is_said(
    headstart: Headstart, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    answer = headstart("audit", photos)
    monkeypatch.chdir(tmp_path)

    assert answer.code == 2
    assert "the folder you are in" in answer.err


@pytest.mark.slow
def test_remarks_of_pillow_on_odd_files_are_not_printed(photos: Path, tmp_path: Path) -> None:
    """A TIFF of eight bytes makes Pillow warn; the audit names it."""
    folder = shutil.copytree(photos, tmp_path / "set")
    (folder / "disc" / "odd.tif").write_bytes(b"II*\0\x10\0\0\0")

    done = subprocess.run(
        [sys.executable, "-m", "headstart", "audit", folder, "-q"], capture_output=True, text=True, check=False
    )

    assert "odd.tif" in done.stdout
    assert "Warning" not in done.stderr
