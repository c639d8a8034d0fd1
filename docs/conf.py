"""Sphinx configuration: `make docs` builds docs/_build/html, warnings are errors. No font or script from outside."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import forked
import make_reference
import run_blocks
import run_notebooks
from sphinx.util import logging

import headstart

DOCS = Path(__file__).parent
PLACES = os.cpu_count() or 1
make_reference.write_pages()
run_blocks.prepare()
blocks = run_blocks.Build(Path(tempfile.mkdtemp(prefix="headstart-docs-")))
builder = os.getpid()
atexit.register(lambda: os.getpid() == builder and shutil.rmtree(blocks.working, ignore_errors=True))
exclude_patterns = ["_build", "outputs", *run_blocks.KEPT_OUT[1:]]
calls = run_notebooks.calls() | blocks.calls(run_blocks.pages())
forked.run_all({**calls, "errors.md": make_reference.write_errors}, PLACES)
make_reference.write_llms()


def setup(app: Any) -> dict[str, bool]:
    """Paste behind each block what it prints; all blocks have run by now, so several processes can read pages."""
    app.connect("source-read", with_outputs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


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
html_theme = "furo"
html_title = f"headstart {release}"
html_show_sourcelink = False
html_copy_source = False
html_extra_path = ["_generated/llms.txt"]
smartquotes_action = "qe"  # quotes and ellipses, no dashes: --reject is an option
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
autodoc_typehints = "none"  # the docstrings say kinds and shapes; the signatures have the types
napoleon_use_rtype = False
suppress_warnings = [
    "myst.header",  # pages may begin a part at the second level
    "misc.highlighting_failure",
]
