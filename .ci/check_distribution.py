"""Check the files of a release: a wheel and a source distribution hold what they must, nothing else, and are small.

python .ci/check_distribution.py dist/*
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

LARGEST = 4_000_000  # bytes; the embedded backbone is 1.5 MB of them
NEEDED = (
    "headstart/__init__.py",
    "headstart/__init__.pyi",
    "headstart/py.typed",
    "headstart/runtime_onnx.py",
    "headstart/backbones/embedded/card.json",
    "headstart/reports/report.html",
    "headstart/reports/report.css",
    "headstart/studio/static/index.html",
    "headstart/studio/static/main.js",
)
KINDS = {"py", "pyi", "typed", "html", "css", "js", "svg", "safetensors", "json"}
ROOT_FILES = {
    "PKG-INFO",
    "README.md",
    "docs/package.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "MANIFEST.in",
    "pyproject.toml",
    "setup.cfg",
}
FOREIGN = re.compile(r"__pycache__|\.pyc$|(^|/)(tests?|runs|demo|\.git)/|\.(pth?|pkl|csv|jpe?g|png)$")


def problems(path: Path) -> Iterator[str]:
    """What is wrong with a wheel or a source distribution, one sentence each."""
    if path.stat().st_size > LARGEST:
        yield f"{path.name} has {path.stat().st_size:,} bytes; at most {LARGEST:,} are allowed"
    is_wheel = path.suffix == ".whl"
    names = _wheel(path) if is_wheel else _sdist(path)
    start = "" if is_wheel else "src/"
    yield from (f"{path.name} lacks {start}{name}" for name in NEEDED if f"{start}{name}" not in names)
    for name in sorted(names):
        in_package = name.startswith(f"{start}headstart/")
        about = ".dist-info/" in name if is_wheel else name in ROOT_FILES or ".egg-info/" in name
        if FOREIGN.search(name) or not (in_package or about):
            yield f"{path.name} holds {name}, which is no part of it"
        elif in_package and name.rsplit(".", 1)[-1] not in KINDS:
            yield f"{path.name} holds {name}, a kind of file that is not expected"


def _wheel(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def _sdist(path: Path) -> set[str]:
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


if __name__ == "__main__":
    found = [problem for name in sys.argv[1:] for problem in problems(Path(name))]
    print(*found, sep="\n")
    print(f"{len(sys.argv) - 1} files checked: {len(found) or 'no'} problems")
    sys.exit(1 if found or len(sys.argv) < 2 else 0)
