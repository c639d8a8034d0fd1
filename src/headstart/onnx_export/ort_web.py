"""onnxruntime-web: the files that run an ONNX model in a browser, from a folder, an npm tarball, or by npm.

They are 14 MB, and not in the wheel.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from headstart.errors import DataError
from headstart.files import make_folder, remove
from headstart.untrusted import sha256_of

VERSION = "1.30.0"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_PATIENCE = 600.0  # seconds
_MOST_BYTES = 100_000_000  # of one file; the largest has 14 MB
_PLACES = (".", "dist", "package/dist", "node_modules/onnxruntime-web/dist")


def ort_web_files(given: Path | None, cache: Path) -> dict[str, bytes]:
    """Name → content of the files.

    Args:
        given: a folder that has them (of the package, its `dist`, or the one above `node_modules`), or the tarball that
            `npm pack onnxruntime-web` makes; None: version 1.30.0 by npm, once, from the registry that npm is set to.
        cache: where the tarball is kept.

    Raises:
        DataError: they are not there; npm is not installed, cannot reach its registry, or gets another file.
    """
    if given is not None and given.is_dir():
        return _of_folder(given)
    if given is None:
        given = _fetched(kept_tarball(cache))
    return _of_tarball(given)


def kept_tarball(cache: Path) -> Path:
    """Where the pinned tarball is kept once it has been fetched."""
    return cache / f"onnxruntime-web-{VERSION}.tgz"


def _fetched(path: Path) -> Path:
    """The tarball of the pinned version, by npm; never another one."""
    if path.is_file() and sha256_of(path) == _SHA256:
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise _missing(path, "no npm on this machine to fetch them with")
    make_folder(path.parent)
    command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", str(path.parent)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.strip()]
        raise _missing(path, f"npm pack failed: {said[-1] if said else error.returncode}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _missing(path, f"npm pack failed: {error}") from error
    found = sha256_of(path) if path.is_file() else "no file"
    if found != _SHA256:
        remove(path)
        raise _missing(path, f"another file from npm, whose SHA-256 is {found}")
    return path


def _of_folder(folder: Path) -> dict[str, bytes]:
    for place in _PLACES:
        found = [folder / place / name for name in FILES]
        if all(path.is_file() for path in found):
            return {path.name: path.read_bytes() for path in found}
    raise _missing(folder, "a folder without them")


def _of_tarball(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            found = dict[str, bytes]()
            for member in archive:  # read by name and never unpacked: no path of it reaches the disk
                place, _, name = member.name.rpartition("/")
                if place == "package/dist" and name in FILES and member.isreg() and member.size <= _MOST_BYTES:
                    stream = archive.extractfile(member)
                    found[name] = b"" if stream is None else stream.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise _missing(path, getattr(error, "strerror", None) or str(error) or "no tarball") from error
    if len(found) < len(FILES):
        raise _missing(path, "a tarball without them")
    return found


def _missing(path: Path, found: str) -> DataError:
    return DataError(
        expected=f"the files of onnxruntime-web: {', '.join(FILES)}",
        found=found,
        where=f"--ort-web {path}",
        hint=f"Get them with: npm pack onnxruntime-web@{VERSION}; name the file, or its folder, with --ort-web.",
    )
