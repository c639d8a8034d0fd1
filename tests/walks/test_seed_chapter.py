"""The chapter that headstart grew out of: its own cells run here with only their import lines changed.

The chapter is read from `seed/*.txt` of the test data and nothing of it is kept in the project. Where it downloads, a
folder lies ready instead; `_cut_cells` makes what its text lacks and its later cells need.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.preserve import preserve
from walks.notebook_text import Cell, cells_of, flat, numbers_of, words_of

IMPORTS = {
    "stepbystep.v3": "headstart",
    "stepbystep.v4": "headstart",
    "torchvision.models.utils": "headstart.backbones.weights",  # load_state_dict_from_url
    "IPython.core.display": "IPython.display",  # moved by IPython itself
}
"""Module of an import line → where the same names are today."""

NAMES = {"download_rps": ("headstart", "fetch")}
"""Imported name → module and name that stand in for it."""

NOT_HERE = {"google.colab": "runs on Colab only", "config": "downloads the book's own files"}
"""Top module of an import → why its cell is skipped."""

CELLS, PRINTED = 25, 10
"""Cells in the chapter, and those of them that show a value."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: why it was skipped, or how what it shows differs from the chapter; empty: it does not."""

    cell: Cell
    skipped: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Chapter:
    """All cells after they ran, and the names that they left behind."""

    outcomes: list[Outcome]
    space: dict[str, Any]


@pytest.fixture(scope="module")
def chapter(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chapter]:
    """The chapter, run from top to bottom in a folder where its data set lies ready."""
    texts = sorted((test_data / "seed").glob("*.txt"))
    if not texts:
        pytest.skip("the chapter is not there: the test data has no folder seed/ with its text")
    folder = tmp_path_factory.mktemp("chapter")
    with pytest.MonkeyPatch.context() as patch, preserve():
        patch.chdir(folder)
        patch.setenv("KAGGLE_CONFIG_DIR", str(folder))  # a cell sets it; afterwards it is as it was
        space: dict[str, Any] = {"__name__": "__main__"}
        yield Chapter(list(_run_all(cells_of(texts[0].read_text(encoding="utf-8")), space, test_data)), space)


def test_every_cell_of_the_chapter_runs_unless_it_is_about_colab_or_downloads(chapter: Chapter) -> None:
    skipped = {outcome.cell.place: outcome.skipped for outcome in chapter.outcomes if outcome.skipped}
    print(f"{len(chapter.outcomes) - len(skipped)} of {len(chapter.outcomes)} cells ran; skipped: {skipped}")
    assert len(chapter.outcomes) == CELLS
    assert sorted(skipped.values()) == sorted([*NOT_HERE.values(), "is no Python"])


def test_the_values_shown_in_the_chapter_come_out(chapter: Chapter) -> None:
    shown = [outcome for outcome in chapter.outcomes if outcome.cell.printed and not outcome.skipped]
    assert len(shown) == PRINTED
    assert not {outcome.cell.place: outcome.fault for outcome in shown if outcome.fault}


def test_the_chapters_loaders_give_standardised_images_of_three_classes(chapter: Chapter) -> None:
    loader = chapter.space["train_loader"]
    pixels, labels = next(iter(loader))
    assert loader.dataset.classes == ["paper", "rock", "scissors"]
    assert pixels.shape == (16, 3, 224, 224)
    assert labels.shape == (16,)
    assert pixels.min() < 0 < pixels.max()


def _run_all(cells: list[Cell], space: dict[str, Any], test_data: Path) -> Iterator[Outcome]:
    for cell in cells:
        reason = _why_not(cell)
        if not reason and _missing(cell.code, space) & {"batch_normalizer", "batch1", "batch3"}:
            space |= _cut_cells()
        if not reason and (missing := _missing(cell.code, space)):
            reason = f"needs {', '.join(sorted(missing))}"
        # compared at once: a state dict that is shown changes when its layer is used again
        yield Outcome(cell, reason) if reason else Outcome(cell, fault=_fault(cell, _run(cell, space)))
        root = Path(str(space.get("ROOT_FOLDER", "")))
        if root.name and not root.exists():  # in place of the download
            root.symlink_to(test_data / "rps28", target_is_directory=True)


def _why_not(cell: Cell) -> str:
    if not cell.code:
        return "is no Python"
    modules = _imported(cell.code)
    return next((why for name, why in NOT_HERE.items() if name in modules), "")


def _imported(code: str) -> set[str]:
    """Modules that the code takes names from."""
    return {node.module or "" for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)}


def _run(cell: Cell, space: dict[str, Any]) -> Any:
    """What a notebook shows: the value of the last line where that is an expression, else None."""
    body = _with_imports_changed(ast.parse(cell.code)).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, type_ignores=[]), f"<cell {cell.place}>", "exec"), space)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), f"<cell {cell.place}>", "eval"), space)


def _with_imports_changed(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.module = IMPORTS.get(node.module or "", node.module)
            for alias in node.names:
                if alias.name in NAMES:
                    node.module, alias.asname = NAMES[alias.name][0], alias.asname or alias.name
                    alias.name = NAMES[alias.name][1]
    return ast.fix_missing_locations(tree)


def _missing(code: str, space: dict[str, Any]) -> set[str]:
    """Names that the code reads, and that neither it nor an earlier cell makes."""
    names = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)]
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(space) | set(dir(builtins))
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        if isinstance(node, ast.arg):
            made.add(node.arg)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            made |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return {node.id for node in names} - made


def _cut_cells() -> dict[str, Any]:
    """What cells make that the chapter's text lacks: three batches of points, and a layer that saw the first two."""
    torch.manual_seed(23)
    points = torch.randn((200, 2)) + torch.randn((200, 2)) * 2
    labels = torch.randint(2, (200, 1))
    batches = iter(DataLoader(TensorDataset(points, labels), batch_size=64, shuffle=True))
    batch1, batch2, batch3 = next(batches), next(batches), next(batches)
    batch_normalizer = nn.BatchNorm1d(num_features=2, affine=False, momentum=None)
    batch_normalizer(batch1[0])
    batch_normalizer(batch2[0])
    return {"batch1": batch1, "batch3": batch3, "batch_normalizer": batch_normalizer}


def _fault(cell: Cell, value: Any) -> str:
    """How a shown value differs from the printed one; empty: not at all, or none was printed."""
    if not cell.printed:
        return ""
    wanted, found = numbers_of(cell.printed), list(flat(value))
    names = list(value) if isinstance(value, dict) else []
    if len(wanted) != len(found) or names != words_of(cell.printed):
        return f"{len(found)} numbers and names {names} for {cell.printed}"
    off = [(want.value, got) for want, got in zip(wanted, found, strict=True) if not want.agrees(got)]
    return f"printed and found: {off}" if off else ""


SAMPLE = """Words before it.

In [1]:
import math

class Pair:
  def __init__(self):
    self.one = 1

    self.two = 2

In [None]:
%%shell
ls -l

a listing

In [2]:
pair = Pair()

pair.one, array([math.pi])

(1, array([3.1416, -2.50e-01], dtype=float32))

##A heading

And prose, which no parser takes for Python.
"""


def test_code_ends_where_a_printed_value_or_prose_begins() -> None:
    first, magic, last = cells_of(SAMPLE)
    assert first.code.startswith("import math")
    assert first.code.endswith("self.two = 2")
    assert (magic.code, magic.printed) == ("", "")
    assert last.code == "pair = Pair()\n\npair.one, array([math.pi])"
    assert last.printed == "(1, array([3.1416, -2.50e-01], dtype=float32))"


def test_a_printed_number_allows_half_a_unit_of_its_last_digit() -> None:
    one, pi, quarter = numbers_of(cells_of(SAMPLE)[2].printed)
    assert (one.value, pi.value, quarter.value) == (1.0, 3.1416, -0.25)
    assert pi.agrees(3.14159265)
    assert not pi.agrees(3.1417)
    assert quarter.agrees(-0.2504)
    assert not quarter.agrees(-0.256)
    assert not one.agrees(1.01)


def test_only_import_lines_are_changed() -> None:
    code = "from stepbystep.v3 import StepByStep\nfrom somewhere import download_rps\nx = StepByStep"
    changed = ast.unparse(_with_imports_changed(ast.parse(code)))
    assert changed.split("\n") == [
        "from headstart import StepByStep",
        "from headstart import fetch as download_rps",
        "x = StepByStep",
    ]
