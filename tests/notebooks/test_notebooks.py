"""The notebooks: clean files, only headstart in them, and (slow) each runs from top to bottom without the network."""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import headstart
from docs_modules import load
from headstart.lab.catalogue import CLAIMS

FOLDER = Path(__file__).parents[2] / "notebooks"
FIGURES = {
    "1-pretrained-model-and-features": 9,
    "2-batch-normalisation": 8,
    "3-residual-connections": 6,
    "4-transfer-learning": 5,
}
"""Notebook → figures that it draws."""

BESIDE_HEADSTART = {"torch", "torchvision", "numpy", "matplotlib"}
CELL_KEYS = {"markdown": {"cell_type", "id", "metadata", "source"}}
CELL_KEYS["code"] = CELL_KEYS["markdown"] | {"execution_count", "outputs"}
SECONDS = 600  # of one cell: a hung kernel must end some day
DEAD = "http://127.0.0.1:9"  # the port of "discard": nobody listens


@pytest.fixture(params=sorted(FIGURES))
def notebook(request: pytest.FixtureRequest) -> Path:
    """One notebook after the other."""
    return FOLDER / f"{request.param}.ipynb"


def test_every_notebook_of_the_folder_is_tested_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(FIGURES)


def test_a_notebook_is_valid_and_its_cells_have_ids(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    nbformat.validate(content)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(set(ids)) == len(ids)


def test_a_notebook_holds_no_outputs_and_no_trace_of_a_machine(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in content["cells"]:
        assert set(cell) == CELL_KEYS[cell["cell_type"]]
        assert cell["metadata"] == {}
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not re.search(r"(?<![\w.])/(?:work|home|Users|root|tmp)/|[A-Z]:\\", "".join(cell["source"]))


def test_the_first_code_cell_installs_headstart_where_it_is_missing_and_does_nothing_else(notebook: Path) -> None:
    first = next(code_cells(notebook))
    assert "%pip install" in first
    body = ast.parse(re.sub(r"%pip .*", "PIP", first)).body
    assert [type(node).__name__ for node in body] == ["Import", "Assign", "If"]
    assert ast.unparse(body[1]) == "SOURCE = 'headstart[standard]'"
    guard = body[2]
    assert isinstance(guard, ast.If)
    assert ast.unparse(guard.test) == "importlib.util.find_spec('headstart') is None"
    assert [ast.unparse(node) for node in guard.body] == ["PIP"]


def test_a_notebook_imports_the_front_of_headstart_and_what_it_is_built_on(notebook: Path) -> None:
    imported: set[str] = set()
    for node in (node for cell in code_cells(notebook) for node in ast.walk(parsed(cell))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - BESIDE_HEADSTART - set(sys.stdlib_module_names) == {"headstart"}
    assert not re.search(r"from headstart|import headstart\.", "\n".join(code_cells(notebook)))


def test_a_notebook_uses_public_names_only(notebook: Path) -> None:
    used = {
        node.attr
        for cell in code_cells(notebook)
        for node in ast.walk(parsed(cell))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hs"
    }
    assert used
    assert used <= set(headstart.__all__)


def test_a_notebook_has_no_training_loop_of_its_own(notebook: Path) -> None:
    called = {
        node.func.attr
        for cell in code_cells(notebook)
        for node in ast.walk(parsed(cell))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not called & {"backward", "step", "zero_grad"}


def test_the_experiments_that_a_notebook_names_are_in_the_lab_and_take_these_settings(notebook: Path) -> None:
    content = json.loads(notebook.read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in content["cells"])
    for call in re.findall(r"run_experiment\([^()]*(?:\([^()]*\))?[^()]*\)", text):
        node = ast.parse(call, mode="eval").body
        assert isinstance(node, ast.Call)
        name = ast.literal_eval(node.args[0])
        assert name in CLAIMS
        defaults = settings_of(name)
        assert {keyword.arg for keyword in node.keywords} <= set(defaults)


@pytest.mark.slow
def test_a_notebook_runs_offline_from_top_to_bottom(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HEADSTART_TEST_DATA", "HEADSTART_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    ran = execute(notebook, tmp_path, monkeypatch)
    check_run(ran, FIGURES[notebook.stem])
    check_stored(notebook, ran, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["1-pretrained-model-and-features", "4-transfer-learning"])
def test_a_notebook_takes_real_weights_where_they_are(
    name: str, test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADSTART_TEST_DATA")
    monkeypatch.setenv("HEADSTART_WEIGHTS", str(test_data / "weights" / "resnet18_imagenet.safetensors"))
    ran = execute(FOLDER / f"{name}.ipynb", tmp_path, monkeypatch)
    check_run(ran, FIGURES[name])
    assert "ResNet-18" in "".join(printed(ran))


def execute(notebook: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook with its outputs, run by a kernel of its own that can reach nobody."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, DEAD)
        monkeypatch.setenv(name.lower(), DEAD)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))  # a user's own start-up files are not run
    place, temporary = folder / "run", folder / "temporary"
    place.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))  # what a notebook writes goes with the test's folder
    content = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(place)}}
    NotebookClient(content, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    assert not list(place.iterdir()), "a notebook leaves nothing beside itself"
    return content


def check_run(ran: Any, figures: int) -> None:
    """No error, no warning, and as many figures as promised."""
    outputs = [output for cell in ran.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [text for text in printed(ran) if "Warning" in text]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == figures


def check_stored(notebook: Path, ran: Any, folder: Path) -> None:
    """What the site shows of it is what it prints."""
    stored, notebooks = load("stored"), load("run_notebooks")
    for cell in ran.cells:  # the page has no errors and progress of stderr
        cell["outputs"] = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
    fresh = notebooks.page_of(notebook.stem, ran, folder / "pictures")
    shown = stored.load(f"notebooks/{notebook.stem}", stored.key_of(notebook.read_text("utf-8")))
    assert shown is not None, "make outputs"
    before, after = (re.findall(r"^````text\n(.*?)^````", page, re.DOTALL | re.MULTILINE) for page in (shown[0], fresh))
    assert len(before) > 3
    assert not stored.stale(before, after)


def printed(ran: Any) -> Iterator[str]:
    """What the cells wrote to stdout and stderr."""
    for cell in ran.cells:
        yield from (output.text for output in cell.get("outputs", []) if output.output_type == "stream")


def code_cells(notebook: Path) -> Iterator[str]:
    """The code of a notebook, cell by cell."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            yield "".join(cell["source"])


def parsed(cell: str) -> ast.Module:
    """The code without its magics."""
    return ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", cell, flags=re.MULTILINE))


def settings_of(name: str) -> dict[str, object]:
    """Settings of an experiment with their defaults, without running it."""
    return dict(importlib.import_module(f"headstart.lab.{name}").run.__kwdefaults__ or {})


def test_a_page_keeps_the_indent_of_the_first_line_that_a_cell_prints(tmp_path: Path) -> None:
    printed = "\n 2 layers\n16 layers\n\n"
    cell = nbformat.v4.new_code_cell("f()", outputs=[nbformat.v4.new_output("stream", text=printed)])

    page = load("run_notebooks").page_of("n", nbformat.v4.new_notebook(cells=[cell]), tmp_path)

    assert page == "````python\nf()\n````\n\n````text\n 2 layers\n16 layers\n````\n"
