"""onnxruntime-web's files: from a folder, from a tarball, never another tarball than the pinned one."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from headstart.errors import DataError
from headstart.onnx_export import ort_web
from headstart.onnx_export.ort_web import FILES, ort_web_files

CONTENT = {name: name.encode() * 3 for name in FILES}


def tarball(path: Path, names: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("place", [".", "dist", "node_modules/onnxruntime-web/dist"])
def test_a_folder_may_be_that_of_the_package_or_around_it(place: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (tmp_path / place / name).write_bytes(content)

    assert ort_web_files(tmp_path, tmp_path / "cache") == CONTENT


def test_a_tarball_is_read_by_name(tmp_path: Path) -> None:
    members = {f"package/dist/{name}": content for name, content in CONTENT.items()}
    path = tarball(tmp_path / "a.tgz", {**members, "../../evil": b"x", f"package/{FILES[0]}": b"another"})

    assert ort_web_files(path, tmp_path / "cache") == CONTENT
    assert [one.name for one in tmp_path.iterdir()] == ["a.tgz"]


def test_what_lacks_the_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tgz").write_bytes(b"no tarball")
    empty = tarball(tmp_path / "empty.tgz", {"package/dist/other.mjs": b"x"})
    for given in (tmp_path, tmp_path / "text.tgz", empty, tmp_path / "nothing.tgz"):
        with pytest.raises(DataError, match="--ort-web"):
            ort_web_files(given, tmp_path / "cache")


NPM = """#!{python}
import pathlib, shutil, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--pack-destination") + 1])
assert sys.argv[1] == "pack"
{body}
"""


def fake_npm(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program named npm, first on the path."""
    program = folder / "npm"
    program.write_text(NPM.format(python=sys.executable, body=body))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a script of its own name")
def test_npm_fetches_the_pinned_tarball_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tarball(tmp_path / "real.tgz", {f"package/dist/{name}": content for name, content in CONTENT.items()})
    copied = f"shutil.copy({str(real)!r}, folder / (sys.argv[2].replace('@', '-') + '.tgz'))"
    fake_npm(tmp_path, copied, monkeypatch)
    with pytest.raises(DataError, match="another file from npm"):
        ort_web_files(None, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []

    monkeypatch.setattr(ort_web, "_SHA256", hashlib.sha256(real.read_bytes()).hexdigest())
    assert ort_web_files(None, tmp_path / "cache") == CONTENT
    fake_npm(tmp_path, "raise SystemExit('E404 no such package')", monkeypatch)
    assert ort_web_files(None, tmp_path / "cache") == CONTENT  # kept
    with pytest.raises(DataError, match="npm pack failed: E404 no such package"):
        ort_web_files(None, tmp_path / "other")


def test_without_npm_the_user_is_told_what_to_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no npm") as caught:
        ort_web_files(None, tmp_path / "cache")
    assert "npm pack onnxruntime-web@" in str(caught.value)
