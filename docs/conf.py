"""Sphinx configuration: `make docs` builds docs/_build/html, warnings are errors. No font or script from outside."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import make_reference
import run_blocks
import run_notebooks
from sphinx.util import logging

import headstart

make_reference.write_all()
run_notebooks.write_all()
blocks = run_blocks.Build(Path(tempfile.mkdtemp(prefix="headstart-docs-")))
atexit.register(shutil.rmtree, blocks.working, ignore_errors=True)


def setup(app: Any) -> None:
    """Paste behind each block what it prints."""
    app.connect("source-read", with_outputs)


def with_outputs(app: Any, name: str, source: list[str]) -> None:
    """Put a page with its outputs in the place of its text; a block that fails is a warning of the build."""
    try:
        source[0] = blocks.page(name, source[0])
    except run_blocks.Failed as failed:
        logging.getLogger(__name__).warning("%s", failed)


project = "headstart"
copyright = "the headstart authors"
version = release = headstart.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "pictures/*.md", "release-checklist.md"]
html_theme = "furo"
html_title = f"headstart {release}"
html_show_sourcelink = False
html_copy_source = False
html_extra_path = ["_generated/llms.txt"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
autodoc_typehints = "none"  # the docstrings say kinds and shapes; the signatures have the types
napoleon_use_rtype = False
suppress_warnings = [
    "myst.header",  # pages may begin a part at the second level
    "misc.highlighting_failure",
]
