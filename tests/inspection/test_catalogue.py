"""The catalogue of analyses: listed without torch, open to others, and run by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import headstart as hs
from headstart.errors import RecipeError
from headstart.inspection.catalogue import ANALYSES, NEEDS, Analysis, find_analysis, register_analysis

OWN = (
    "preprocessing", "batch-norm", "batch-mode", "residual", "filters", "feature-maps", "embedding", "gradients",
    "similarity", "line", "plane",
)  # fmt: skip


def test_the_own_analyses_come_first_and_say_what_they_show():
    assert tuple(ANALYSES)[: len(OWN)] == OWN
    assert all(find_analysis(name).about and find_analysis(name).needs in NEEDS for name in OWN)


def test_listing_the_analyses_needs_neither_torch_nor_matplotlib():
    code = (
        "import sys; from headstart.inspection.catalogue import ANALYSES, find_analysis;"
        "print([find_analysis(name).about for name in ANALYSES]); assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_registered_analysis_is_found_with_its_first_docstring_line():
    @register_analysis("test-first-line", needs="labels", in_all=False)
    def first_line(model, images):
        """Count the images.

        And more.
        """

    assert find_analysis("test-first-line") == Analysis("Count the images", first_line, needs="labels", in_all=False)


def test_a_function_that_is_defined_again_replaces_itself():
    for text in ("first", "second"):

        @register_analysis("test-again", about=text, in_all=False)
        def again(model, images):
            """As in a notebook cell that is run twice."""

    assert find_analysis("test-again").about == "second"


def test_a_name_that_is_taken_and_an_unknown_need_are_refused():
    with pytest.raises(RecipeError, match="registered already"):
        register_analysis("filters", about="other filters")(print)
    with pytest.raises(RecipeError, match="'pixels'"):
        register_analysis("test-needs", needs="pixels")


@pytest.mark.slow
def test_analyses_of_installed_packages_are_listed_and_a_broken_one_says_so(tmp_path, monkeypatch):
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[headstart.analyses]\nfine = analyses_of_plugin:fine\nplain = analyses_of_plugin:plain\nbroken = nowhere:x\n"
    )
    (tmp_path / "analyses_of_plugin.py").write_text(
        "from headstart.inspection.catalogue import register_analysis\n"
        "@register_analysis('fine', about='a fine one', needs='labels')\n"
        "def fine(model, images): ...\n"
        "def plain(model, images):\n    'Count the images.'\n"
    )
    code = (
        "from headstart.inspection.catalogue import all_analyses\n"
        "for name in ('fine', 'plain', 'broken'): print(all_analyses()[name].about, all_analyses()[name].needs)\n"
        "try: all_analyses()['broken'].function(None, None)\n"
        "except Exception as error: print(error.hint)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "a fine one labels",
        "Count the images ",
        "cannot be imported: ModuleNotFoundError: No module named 'nowhere' ",
        "Update or remove the package plugin.",
    ]


@pytest.mark.slow
def test_the_example_of_the_page_runs_as_it_is_in_an_empty_folder(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "extending" / "analysis.md").read_text(encoding="utf-8")
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert example.count("\n") <= 25
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Flip sensitivity\nThe mean cosine is 0.")
    assert "5.png" in done.stdout


def test_what_the_page_needs_is_public():
    public = ("register_analysis", "SimpleResult", "Table", "InspectionResult", "InspectedImages")
    assert set(public) <= set(dir(hs))


def test_an_unknown_name_is_answered_with_the_near_ones():
    with pytest.raises(RecipeError, match="Did you mean filters"):
        find_analysis("filtres")
