"""register_rule: what it refuses; and its page in the documentation, whose example runs as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

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


@pytest.mark.slow
def test_the_example_of_the_documentation_runs_as_it_is(tmp_path: Path):
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert example.count("\n") <= 25
    run = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "advice: large kernels at 0" in run.stdout
    assert "found: 11×11" in run.stdout


def installed_package(folder: Path) -> Path:
    """A package with one rule that works and one whose module cannot be imported, as an installer leaves it."""
    (folder / "plugin_rules.py").write_text(
        "import headstart as hs\n"
        "@hs.register_rule('linear layers', 'advice', why='w', fix='f')\n"
        "def linear_layers(examination):\n"
        "    yield hs.Issue(('0',), 'found by the package')\n",
        encoding="utf-8",
    )
    info = folder / "plugin_rules-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-rules\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[headstart.rules]\nlinear layers = plugin_rules:linear_layers\nbroken = plugin_gone:rule\n", encoding="utf-8"
    )
    return folder


@pytest.mark.slow
def test_rules_of_installed_packages_are_checked_and_broken_ones_listed(tmp_path: Path):
    code = (
        "import torch, headstart as hs\n"
        "found = hs.doctor(torch.nn.Sequential(torch.nn.Linear(2, 2)))\n"
        "print([one.found for one in found.findings])\n"
        "print([one.reason for one in found.not_checked if one.rule == 'broken'])"
    )
    path = os.pathsep.join([str(installed_package(tmp_path)), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "['found by the package']" in run.stdout
    assert (
        "the rule of the package plugin-rules failed: ModuleNotFoundError: No module named 'plugin_gone'" in run.stdout
    )


@pytest.mark.parametrize(
    "texts", [{"why": None, "fix": "do"}, {"why": "w", "fix": 5}, {"why": "w", "fix": "f", "source": 1}]
)
def test_words_that_are_no_text_are_refused(texts: dict[str, Any]):
    with pytest.raises(RecipeError, match=r"a text as (why|fix|source)"):
        register_rule("no text", **texts)
