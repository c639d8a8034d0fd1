"""The call that a job was started by: one line that a shell, or Python, reads back as what was given."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

from headstart.invocation import line, started_in_shell
from headstart.recipe import Recipe


def test_a_command_line_is_quoted_so_that_a_shell_reads_it_back() -> None:
    words = ["train", "my photos", "--group-by", r"(person\d+)", "--out", "it's"]

    with started_in_shell(words):
        text = line("train", "other", options={"seed": 1})

    assert shlex.split(text) == ["headstart", *words]
    assert line("train", "other", options={"seed": 1}) == "headstart.train('other', seed=1)"


def test_a_call_in_python_is_one_that_python_reads() -> None:
    options = {"out": Path("runs/it's"), "recipe": Recipe(seed=3, head="logistic"), "flips": False, "lr": None}

    text = line("train", Path("my photos"), options=options)

    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert ast.literal_eval(call.args[0]) == "my photos"
    named = {one.arg: ast.unparse(one.value) for one in call.keywords}
    assert named == {"out": '"runs/it\'s"', "recipe": "Recipe(head='logistic', seed=3)", "flips": "False"}


def test_data_is_named_by_kind_and_number() -> None:
    pairs = [(f"photos/{i}.png", "cat") for i in range(500)]

    assert line("train", pairs, options={"classes": ["a", "b"]}) == "headstart.train(<list of 500>, classes=['a', 'b'])"
    assert line("train", object(), options={}) == "headstart.train(<object>)"
