"""register_rule: what it refuses; and its page in the documentation, whose example runs as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from headstart.best_practices.examination import Examination
from headstart.best_practices.rule import Issue, Rule
from headstart.best_practices.rules import RULES, register_rule
from headstart.errors import RecipeError
from headstart.inspection.inspected_model import inspected_model

PAGE = Path(__file__).parents[2] / "docs" / "extending" / "rule.md"


@pytest.mark.parametrize(
    ("severities", "needs", "message"),
    [(("eror",), (), "Did you mean error"), ((), ("image",), "Did you mean images")],
)
def test_unknown_severities_and_inputs_are_refused(severities, needs, message: str):
    with pytest.raises(RecipeError, match=message):
        register_rule("a rule of this test", *severities, why="", fix="", needs=needs)
    assert "a rule of this test" not in RULES


def test_a_name_that_is_taken_is_refused():
    register = register_rule("dead ReLUs", why="", fix="")
    with pytest.raises(RecipeError, match="'dead ReLUs', which is registered already"):
        register(lambda examination: ())


def test_calling_a_rule_runs_its_check():
    rule = Rule("name", ("error",), why="", fix="", check=lambda examination: [Issue((), "x")])
    assert list(rule(Examination.of(inspected_model(nn.Linear(1, 1))))) == [Issue((), "x")]
    assert not rule.is_own
    assert RULES["dead ReLUs"].is_own


def test_the_example_of_the_documentation_runs_as_it_is(tmp_path: Path):
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert example.count("\n") <= 25
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "advice: large kernels at 0" in run.stdout
    assert "found: 11×11" in run.stdout
