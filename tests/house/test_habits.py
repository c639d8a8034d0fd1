"""Files that people expect in a repository: they parse, and they agree with the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import headstart

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    (package,) = re.findall(r'^version = "(.+)"$', read("pyproject.toml"), re.MULTILINE)
    (citation,) = re.findall(r"^version: (.+)$", read("CITATION.cff"), re.MULTILINE)

    assert package == citation == headstart.__version__
    assert f"## {package}" in read("CHANGELOG.md")


def test_ci_runs_on_three_systems_and_every_supported_python() -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]

    matrix = jobs["tests"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert f'requires-python = ">={matrix["python"][0]}"' in read("pyproject.toml")
    assert {"test"} == {one["extras"] for one in matrix["include"]}  # without the optional dependencies
    assert [step.get("run") for step in jobs["full"]["steps"]][-1] == ".ci/run"


def test_what_ci_runs_is_lint_types_and_coverage() -> None:
    made = re.findall(r"^make (\w+)$", read(".ci/run"), re.MULTILINE)

    assert made == ["lint", "types", "coverage"]
    assert all(re.search(rf"^{target}:", read("Makefile"), re.MULTILINE) for target in made)


def test_the_pre_commit_configuration_parses_and_has_our_checks() -> None:
    yaml = pytest.importorskip("yaml")

    hooks = [hook["id"] for repo in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]]

    assert {"ruff", "ruff-format", "mypy", "check-merge-conflict"} <= set(hooks)


def test_coverage_has_a_floor() -> None:
    report = tomllib.loads(read("pyproject.toml"))["tool"]["coverage"]["report"]

    assert report["fail_under"] >= 96


def test_every_benchmark_is_in_the_list_of_them() -> None:
    listed = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    programs = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")]
    assert len(programs) > 20
    assert [path.name for path in programs if f"`{path.name}`" not in listed] == []
