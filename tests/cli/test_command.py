"""How commands are made: options from Recipe, JSON, --quiet, exit codes."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import typer
from PIL import Image

from command_line import Headstart
from headstart.cli.command import _errors_shown, show_error
from headstart.data.audit.check import CHECKS, AuditInput, register_check
from headstart.data.finding import Finding
from headstart.errors import DataError
from headstart.options import ContinueOptions, EvaluateOptions, PredictOptions, TrainOptions
from headstart.recipe import Recipe


@pytest.mark.slow
def test_every_field_of_the_recipe_is_an_option_of_train(headstart: Headstart) -> None:
    text = headstart("train", "--help").out

    for field in dataclasses.fields(Recipe):
        assert "--" + field.name.replace("_", "-") in text
    assert {field.name for field in dataclasses.fields(Recipe)} == set(TrainOptions.__annotations__)


@pytest.mark.parametrize(("name", "options"), [("predict", PredictOptions), ("evaluate", EvaluateOptions)])
def test_a_command_has_the_options_of_its_verb_and_no_others(headstart: Headstart, name: str, options: type) -> None:
    text = headstart(name, "--help").out

    for field in ContinueOptions.__annotations__.keys() - {"processes"}:  # which belongs to --on there
        assert (f"--{field.replace('_', '-')} " in text) == (field in options.__annotations__), field


def test_a_flag_that_is_on_has_a_negative_form(headstart: Headstart) -> None:
    text = headstart("train", "--help").out

    assert "--no-flips" in text
    assert "--no-inside" in text
    assert "--no-offline" not in text


@pytest.mark.slow
def test_quiet_shows_results_without_progress(headstart: Headstart, photos: Path, run_folder: Path) -> None:
    answer = headstart("evaluate", run_folder, photos, "--quiet")

    assert answer.code == 0
    assert answer.err == ""
    assert "Results" in answer.out


def test_json_is_strict_and_alone_on_stdout(headstart: Headstart) -> None:
    answer = headstart("backbones", "--json")

    assert "embedded" in [entry["name"] for entry in json.loads(answer.out)]
    assert answer.err == ""


@pytest.mark.parametrize(
    "arguments",
    [("train",), ("fly",), ("train", "x", "--sede", "1"), ("train", "x", "--seed", "a"), ("inspect", "filters")],
)
def test_usage_mistakes_exit_2_with_a_hint(headstart: Headstart, arguments: tuple[str, ...]) -> None:
    answer = headstart(*arguments)

    assert answer.code == 2
    assert "Error" in answer.err


@pytest.mark.slow
def test_the_common_options_come_first_and_each_field_has_its_group(headstart: Headstart) -> None:
    text = headstart("train", "--help").out

    groups = ["Common", "Data", "Head", "Fine-tuning", "Speed", "Workers"]
    places = [text.index(f" {group} ") for group in groups]
    assert places == sorted(places)
    common = text[places[0] : places[1]]
    assert common.index("--backbone") < common.index("--strategy") < common.index("--offline")
    assert "--max-pixels" not in common
    words = " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())
    assert "images of others are refused [default: those of the images]" in words  # brackets are no markup


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("--strategy probe", ["probe", "probe-then-full"]),
        ("--backbone efficientnet_l", ["efficientnet_lite0", "efficientnet_lite2"]),
        ("--backbone ba", ["balanced"]),
    ],
)
def test_a_shell_completes_choices_and_backbones(
    headstart: Headstart, monkeypatch: pytest.MonkeyPatch, words: str, offered: list[str]
) -> None:
    monkeypatch.setenv("_HEADSTART_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"headstart train photos {words}")
    monkeypatch.setenv("COMP_CWORD", "4")

    assert headstart().out.split() == offered


@pytest.mark.slow
def test_options_of_a_file_are_taken_and_those_given_win(headstart: Headstart, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('group_by = "none"\nmax_bad_share = 0.5\n', "utf-8")

    taken = json.loads(headstart("audit", photos, "--config", tmp_path / "recipe.toml", "--json").out)
    (tmp_path / "recipe.toml").write_text("max_pixels = 1000\n", "utf-8")  # too few for any of the photos
    refused = headstart("audit", photos, "--config", tmp_path / "recipe.toml")
    won = headstart("audit", photos, "--config", tmp_path / "recipe.toml", "--max-pixels", "1000000")

    assert taken["images"] > 0
    assert "48 of 48" in refused.out + refused.err
    assert "48 of 48" not in won.out + won.err


def test_a_file_with_options_that_the_command_does_not_have_is_refused(
    headstart: Headstart, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text("epochs = 3\n", "utf-8")

    answer = headstart("audit", photos, "--config", tmp_path / "recipe.toml")

    assert answer.code == 2
    assert "epochs" in answer.err


def test_an_error_is_broken_between_words_in_a_terminal_and_its_command_stays_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = DataError(expected="a folder", found="word " * 30, where="x/" * 50, hint=f"headstart train {'y ' * 50}")
    show_error(error)
    log = capsys.readouterr().err.splitlines()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    show_error(error)

    screen = capsys.readouterr().err.splitlines()
    assert [line[:12] for line in log[1:]] == ["  expected: ", "  found:    ", "  where:    ", "  next:     "]
    assert [line for line in screen if len(line) > 60] == [log[3], log[4]]  # a path and a command, to be copied
    assert sum(line.count("word") for line in screen) == 30


@pytest.mark.slow
def test_help_is_a_command_too(headstart: Headstart) -> None:
    assert "--sort-into" in headstart("help", "predict").out
    assert "train" in headstart("help").out
    answer = headstart("help", "predit")
    assert answer.code == 2
    assert "predict" in answer.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("--class", "zebra"), "--class"),
        (("--method", "magic"), "--method"),
    ],
)
def test_an_error_points_at_the_option_as_it_is_typed(
    headstart: Headstart, photos: Path, run_folder: Path, arguments: tuple[str, ...], place: str
) -> None:
    image = next((photos / "disc").iterdir())

    answer = headstart("explain", run_folder, image, *arguments)

    assert answer.code == 2
    assert f"where:    {place}\n" in answer.err


def test_a_mistake_in_a_file_of_options_points_at_the_file_and_the_option(
    headstart: Headstart, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text("max_bad_share = 3.0\n", "utf-8")

    missing = headstart("audit", photos, "--config", "nothing.toml")
    wrong = headstart("audit", photos, "--config", tmp_path / "recipe.toml")

    assert "found:    No such file or directory\n  where:    --config nothing.toml\n" in missing.err
    assert f"where:    --config {tmp_path / 'recipe.toml'}: max_bad_share\n" in wrong.err


@pytest.mark.slow
def test_verbose_says_times_and_what_was_cached(headstart: Headstart, photos: Path, run_folder: Path) -> None:
    first = headstart("evaluate", run_folder, photos, "--verbose")
    second = headstart("evaluate", run_folder, photos, "-v")
    plain = headstart("evaluate", run_folder, photos)

    assert re.search(r"^audit: \d+\.\d s$", first.err, re.M)
    assert re.search(r"^features: 0 different images from the cache in .*; 48 computed by the engine", first.err, re.M)
    assert re.search(r"^features: 48 different images from the cache in [^;]*$", second.err, re.M)
    assert "cache in" not in plain.err
    assert first.out == second.out == plain.out


def test_verbose_and_quiet_contradict(headstart: Headstart, photos: Path) -> None:
    answer = headstart("audit", photos, "-v", "-q")

    assert answer.code == 2
    assert "where:    --verbose" in answer.err


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("audit",), ("help", "audit"), ("audit", "--no-such-option")])
def test_no_color_takes_all_colours_away(
    headstart: Headstart, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal that has colours
    monkeypatch.setenv("TERM", "xterm-256color")
    colour = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|38|9[0-7]|4[0-7]|48)[0-9;]*m")
    words = (*arguments, photos) if "help" not in arguments else arguments

    coloured = headstart(*words)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = headstart(*words)

    assert colour.search(coloured.out + coloured.err), "or this test could not tell"
    assert not colour.search(plain.out + plain.err)


@pytest.mark.slow
def test_the_backbone_of_a_run_is_no_wish_of_an_audit(headstart: Headstart, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"recipe": {"backbone": "embedded", "max_bad_share": 0.2}}', "utf-8")

    assert headstart("audit", photos, "--config", tmp_path / "run.json", "--json").code == 0
    (tmp_path / "own.toml").write_text('backbone = "embedded"', "utf-8")
    refused = headstart("audit", photos, "--config", tmp_path / "own.toml")
    assert refused.code == 2
    assert "Add --shortcuts" in refused.err


@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("libtorch.so: failed to map segment from shared object")], ids=str
)
def test_too_little_memory_is_an_error_of_ours(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), _errors_shown({}):
        raise error

    assert "ulimit -v" in capsys.readouterr().err


def test_an_import_of_our_own_that_fails_keeps_its_traceback() -> None:
    with pytest.raises(ImportError, match="cannot import name"), _errors_shown({}):
        raise ImportError("cannot import name 'x'")


def test_what_a_plug_in_prints_stays_out_of_the_json(headstart: Headstart, tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (40, 40), "red" if name[0] == "a" else "blue").save(tmp_path / name)

    @register_check("loud")
    def loud(given: AuditInput) -> list[Finding]:
        print("NOISE")
        return []

    try:
        answer = headstart("audit", str(tmp_path), "--json")
    finally:
        CHECKS.remove("loud")

    assert json.loads(answer.out)["images"] == 2
    assert "NOISE" in answer.err
