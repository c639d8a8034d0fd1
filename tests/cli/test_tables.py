"""The tables of results that need no torch."""

from __future__ import annotations

import io
import json
import os

import pytest
import torch
from rich.console import Console

from command_line import Headstart
from headstart import runtime
from headstart.classifier.predictions import Prediction
from headstart.cli.tables import Sentence, console, print_analyses, print_predictions, tables_within


def test_backbones_have_size_and_licence_on_one_line(headstart: Headstart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    lines = headstart("backbones").out.splitlines()

    resnet18 = next(line for line in lines if line.startswith("resnet18"))
    assert "11.7" in resnet18
    assert "BSD-3-Clause" in resnet18
    assert "--backbone timm:NAME" in lines[-1]


def test_the_cache_names_its_folder_and_its_limit(headstart: Headstart) -> None:
    answer = headstart("cache")

    assert os.environ["HEADSTART_CACHE"] in answer.out.replace("\n", "")
    assert "--cache-limit-gb" in answer.out


@pytest.mark.slow
def test_engines_show_what_was_measured_in_milliseconds(headstart: Headstart, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.backbones.backbone import load_backbone
    from headstart.engines.measured import keep_measurement

    assert "Nothing was measured yet" in headstart("engines").out.replace("\n", " ")
    keep_measurement(load_backbone("embedded"), {"eager": 0.0123, "folded": 0.0045}, runtime.cache_folder())
    monkeypatch.setenv("COLUMNS", "120")

    heading, row, *_ = headstart("engines").out.splitlines()

    assert heading.split()[:6] == ["ms", "an", "image", "threads", "eager", "folded"]
    assert row.split()[:4] == ["embedded", str(torch.get_num_threads()), "12.3", "4.5"]
    assert json.loads(headstart("engines", "--json").out)["measurements"][0]["seconds"]["eager"] == 0.0123


def test_the_console_is_as_wide_as_the_variable_says_and_else_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert console().width == 72

    monkeypatch.delenv("COLUMNS")
    assert console().width == 100


def test_names_from_outside_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_analyses([{"name": "[red]mine\x1b[31m", "about": "an analysis of a plug-in"}])

    assert "[red]mine\\x1b[31m" in capsys.readouterr().out


def test_what_to_mind_stands_beside_the_class_and_a_rejected_image_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    unsure = Prediction("a.png", "cat", 0.6, {"cat": 0.6, "dog": 0.4}, prediction_set=("cat", "dog"))
    rejected = Prediction("b.png", None, 0.9, {"cat": 0.9, "dog": 0.1}, familiar=False, rejected="unlike the others")

    print_predictions([unsure, rejected], console())

    first, second, counts = capsys.readouterr().out.splitlines()[1:]
    assert first.split(maxsplit=4)[:4] == ["a.png", "cat", "60.0", "%"]
    assert "unsure between cat and dog; dog 40.0\u00a0%" in first
    assert second.split(maxsplit=2)[:2] == ["b.png", "-"]
    assert "unlike the others; cat 90.0\u00a0%, dog 10.0\u00a0%" in second
    assert counts == "2 images: 1 cat, 1 rejected"


@pytest.mark.parametrize(
    ("width", "parts"), [(80, [[0, 1, 2, 3]]), (38, [[0, 1], [0, 2], [0, 3]]), (9, [[0, 1], [0, 2], [0, 3]])]
)
def test_a_table_that_is_too_wide_is_shown_in_parts_with_the_first_column(width: int, parts: list[list[int]]) -> None:
    columns = ("block", "accuracy without it", "gradient", "cosine")
    rows = [("blocks.1.1", "0.7500000000000000", "0.5371000000000000", "-0.0094000000000"), ("b", "0.5", "1", "0")]

    tables = tables_within(columns, rows, width)

    assert [[str(column.header) for column in table.columns] for table in tables] == [
        [columns[i] for i in part] for part in parts
    ]
    assert [len(table.rows) for table in tables] == [2] * len(parts)
    if width < 20:  # a name may be broken, a number never
        return
    out = Console(width=width, record=True, file=io.StringIO())
    for table in tables:
        out.print(table)
    text = out.export_text()
    assert all(cell in text for row in rows for cell in row)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [38, 60, 78, 118])
def test_headings_and_numbers_stay_whole_however_long_one_heading_is(width: int) -> None:
    columns = (
        "method", "probability", "hottest fifth hidden", "elsewhere hidden", "correlation with shuffled weights",
        "incompleteness",
    )  # fmt: skip
    rows = [
        ("occlusion", "0.990", "0.843", "0.992", "0.363", "-"),
        ("grad-cam", "0.5", "0.1", "0.9", "1.2e-05", "0.123"),
    ]

    out = Console(width=width, record=True, file=io.StringIO())
    for table in tables_within(columns, rows, width):
        out.print(table)
    text = out.export_text()

    words = {word for column in columns for word in column.split()} | {cell for row in rows for cell in row}
    assert words <= set(text.split())
    assert max(map(len, text.splitlines())) <= width


def test_of_a_long_list_each_name_has_a_line_beside_the_first_column() -> None:
    names = ["bees/1232245714_f862fbe385.jpg", "bees/132826773_dbbcb117b9.jpg", "ants/154600396_53e1252e52.jpg"]

    out = Console(width=80, record=True, file=io.StringIO())
    for table in tables_within(("channel", "images"), [("blocks.6.0.bn2 #56", ", ".join(names))], 78):
        out.print(table)

    header, *lines = out.export_text().splitlines()
    assert header.split() == ["channel", "images"]
    assert [line.split() for line in lines] == [["blocks.6.0.bn2", "#56", names[0]], [names[1]], [names[2]]]


@pytest.mark.parametrize(
    ("name", "is_whole"), [("new/1262751255_c56c042b7b.jpg", True), ("a/very_long/" * 8 + "1.jpg", False)]
)
@pytest.mark.parametrize("label", ["ants", "a very long name of a class of things"])
def test_no_word_of_a_prediction_is_lost_and_names_are_whole_where_they_fit(
    capsys: pytest.CaptureFixture[str], name: str, label: str, is_whole: bool
) -> None:
    shares = {label: 0.9, "bees": 0.1}
    doubted = Prediction(name, label, 0.9, shares, familiar=False, prediction_set=(label, "bees"))
    rejected = Prediction(name, None, 0.9, shares, rejected="unlike the training images: 4.5 % of them are as far")
    screen = Console(force_terminal=True, width=80, file=io.StringIO(), color_system=None)

    print_predictions([doubted, rejected], screen)
    print_predictions([doubted, rejected, Prediction("b.png", "bees", 1.0, {"bees": 1.0})], console())

    drawn = screen.file.getvalue().splitlines()[1:-1]  # type: ignore[attr-defined]
    assert (name in drawn[0]) == is_whole
    assert max(map(len, drawn)) <= 80
    letters = sorted("".join("".join(drawn).split()))
    texts = [name, label, "90.0%", *doubted.doubt, ";", "bees10.0%", name, "-", rejected.rejected or "", ";"]
    assert letters == sorted("".join("".join([*texts, label, "90.0%,", "bees10.0%"]).split()))
    piped = capsys.readouterr().out.splitlines()
    assert piped == [line.rstrip() for line in piped]  # no blanks up to the end of the widest line


def test_a_sentence_keeps_a_number_and_its_unit_on_one_line() -> None:
    screen = Console(force_terminal=True, width=11, file=io.StringIO(), color_system=None)

    screen.print(Sentence("0123456 81\u00a0% of them"))

    assert screen.file.getvalue().split("\n")[:2] == ["0123456 ", "81\u00a0% of "]  # type: ignore[attr-defined]


@pytest.mark.parametrize("columns", ["0", "1"])
def test_a_terminal_without_a_width_gets_the_usual_one(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    assert console().width == 100
