"""pull: a classifier from the Hugging Face hub: one pinned commit, all files checked before any is in its place."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from headstart.classifier.classifier import Classifier
from headstart.errors import ClassifierError
from headstart.files import publish_folder, remove, work_folder, write_json
from headstart.output_paths import writable_folder
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.public_api import public_api
from headstart.workbench.events import FilesWritten
from headstart.workbench.hub import FILES, hub_errors, open_hub, parse_address
from headstart.workbench.run import CLASSIFIER
from headstart.workbench.session import Session

SOURCE = "source.json"  # beside the files: where they are from
_LIBRARY_FOLDER = ".cache"  # where huggingface_hub keeps its own notes of a download
_MOST_BYTES = 10_000_000_000  # of one file: several times the largest network of timm
_ASK = "Do not use it; tell whoever published it, or name another revision."


@dataclass(frozen=True)
class Pulled(Plain):
    """A classifier from the hub.

    Args:
        folder: where it lies; `predict` takes it. address: `hf://USER/NAME@COMMIT`. sha256: file → its hash (hex).
    """

    folder: Path
    address: str
    sha256: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.folder}: {', '.join(self.sha256)} of {self.address}; all hashes match."


@public_api
def pull(
    address: str,
    *,
    out: str | Path | None = None,
    module: nn.Module | None = None,
    on_event: OnEvent | None = print_event,
) -> Pulled:
    """Fetch a classifier from the Hugging Face hub, at one commit; nothing is left unless all of it is as it must be.

    Only the files that `push` sends are fetched. Each is compared with the hub's hash, and the classifier is opened
    (without pickle, without code from the file) before the folder gets its name. Files of strangers stay theirs: the
    hash says that they arrived unchanged, not who made them.

    Args:
        address: `hf://USER/NAME`, or with a branch, tag or commit after @.
        out: folder; one beside it where the name is taken. None: NAME in the working folder.
        module: for a classifier on your own network; see `Classifier.load`.

    Raises:
        RunError: another form of address; the hub refuses or cannot be reached; the folder cannot be written.
        ClassifierError: the classifier is missing, is not headstart's, or a file is not the one that the hub lists.
    """
    named = None if out is None else writable_folder(out, is_new=True, for_model=True)
    name, revision = parse_address(address)
    target = named or writable_folder(name.partition("/")[2], is_new=True, for_model=True)
    session, api = Session(on_event=on_event), open_hub()
    with hub_errors(address, expected="the files from the hub"), session.step("pull"):
        info = api.model_info(name, revision=revision, files_metadata=True)
        pinned = f"hf://{name}@{_commit(info, address)}"
        listed = _listed(info, pinned)
        with work_folder(target) as folder:
            hashes = {path: _fetch(api, info, folder, pinned=pinned, listed=listed[path]) for path in listed}
            remove(folder / _LIBRARY_FOLDER)
            _open(folder / CLASSIFIER, pinned, module)
            write_json(folder / SOURCE, {"address": pinned, "sha256": hashes})
            final = publish_folder(folder, target)
    session.on_event(FilesWritten(final, (*hashes, SOURCE), f"headstart predict {shlex.quote(str(final))} NEW_IMAGES"))
    return Pulled(final, pinned, hashes)


def _commit(info: Any, address: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", str(info.sha)):
        raise ClassifierError(expected="a commit", found=repr(info.sha), where=address, hint="Is HF_ENDPOINT a hub?")
    return str(info.sha)


def _listed(info: Any, pinned: str) -> dict[str, Any]:
    """Path → what the hub says of the file, for those that push sends."""
    there = {one.rfilename: one for one in info.siblings or ()}
    if CLASSIFIER not in there:
        raise ClassifierError(
            expected=f"a classifier of headstart: {CLASSIFIER}",
            found=", ".join(sorted(there)[:6]) or "no files",
            where=pinned,
            hint="Name a repository that `headstart push` made.",
        )
    listed = {path: there[path] for path in FILES if path in there}
    for path, one in listed.items():
        if (one.size or 0) > _MOST_BYTES:
            raise ClassifierError(
                expected=f"files of at most {_MOST_BYTES / 1e9:g} GB",
                found=f"{path} of {one.size / 1e9:,.1f} GB",
                where=pinned,
                hint=_ASK,
            )
    return listed


def _fetch(api: Any, info: Any, folder: Path, *, pinned: str, listed: Any) -> str:
    """Download one file into the folder, and compare it with the hub's hash: SHA-256, or git's for small files."""
    path = listed.rfilename
    api.hf_hub_download(pinned[5:].partition("@")[0], path, revision=info.sha, local_dir=folder)
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {(folder / path).stat().st_size}\0".encode())  # the hub's choice
    with (folder / path).open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            git.update(block)
    is_large = listed.lfs is not None
    expected, found = (listed.lfs.sha256, sha256.hexdigest()) if is_large else (listed.blob_id, git.hexdigest())
    if expected != found:
        kind = "SHA-256" if is_large else "git hash"
        raise ClassifierError(
            expected=f"{path} with the {kind} that the hub lists: {expected}",
            found=f"another file: {found}",
            where=pinned,
            hint=_ASK,
        )
    return sha256.hexdigest()


def _open(path: Path, pinned: str, module: nn.Module | None) -> None:
    try:
        Classifier.load(path, module=module)
    except ClassifierError as error:  # with the place that the user knows
        raise ClassifierError(
            expected=error.expected, found=error.found, where=f"{path.name} of {pinned}", hint=error.hint or _ASK
        ) from error
