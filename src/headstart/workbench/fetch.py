"""fetch: download a data set: rock paper scissors, one of Kaggle, or an archive from any URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.folder_scan import as_text
from headstart.data.image_set import ImageSet, scan
from headstart.datasets.fetch import fetch_source
from headstart.datasets.kaggle import fetch_kaggle, is_kaggle_page, kaggle_handle
from headstart.datasets.sources import SOURCES, check_sha256, is_address, source_of_address
from headstart.datasets.staging import Fetched
from headstart.errors import DataError, near
from headstart.progress import OnEvent, ProgressReporter, print_event
from headstart.public_api import public_api
from headstart.workbench.run import out_folder
from headstart.workbench.session import Session

_WAYS = "a known name (rps), kaggle OWNER/NAME, or an http(s) address"


@dataclass(frozen=True)
class FetchedSet:
    """A data set on disk, and what `train` will see in it.

    Args:
        images: None when no labelled images were found; `unread` then says why.
    """

    fetched: Fetched
    images: ImageSet | None
    unread: str = ""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.fetched.folder

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        seen = self.images.to_dict() if self.images else {}
        kept: dict[str, Any] = {name: seen[name] for name in ("images", "classes", "counts") if name in seen}
        return {**self.fetched.to_dict(), **kept, "unread": self.unread}


@public_api
def fetch(
    source: str,
    name: str | None = None,
    *,
    out: str | Path | None = None,
    sha256: str = "",
    max_gb: float = 20.0,
    on_event: OnEvent | None = print_event,
) -> FetchedSet:
    """Download a data set into a folder: resumed if the connection breaks, verified, unpacked whole or not at all.

    A second call finds it there and does nothing. `source.json` in the folder says where it is from.

    Args:
        source: `rps` (Rock Paper Scissors), `kaggle`, or the http(s) address of a zip or tar.
        name: after `kaggle`: OWNER/NAME.
        out: folder; default `data/NAME`.
        sha256: of the archive at an address, hex, or its first digits (8 or more).
        max_gb: 1e9 bytes, of an archive and of its files; more is refused.

    Raises:
        DataError: the source is not understood, the folder holds something else, or the set is not available.
        RunError: the folder has no name.
    """
    session, sha256 = Session(on_event=on_event), check_sha256(sha256)
    _check(source, name, sha256=sha256, max_gb=max_gb)
    most = int(max_gb * 1e9)
    if name is not None or is_kaggle_page(source):
        handle = kaggle_handle(name or source)
        fetched = fetch_kaggle(handle, _folder(out, handle.split("/")[1]), note=_notices(session), max_bytes=most)
    else:
        wanted = SOURCES[source] if source in SOURCES else source_of_address(source, sha256)
        fetched = fetch_source(
            wanted, _folder(out, wanted.name), progress=_Counter(session), note=_notices(session), max_bytes=most
        )
    return _look(fetched)


def _check(source: str, name: str | None, *, sha256: str, max_gb: float) -> None:
    is_kaggle = source == "kaggle" or is_kaggle_page(source)
    if source == "kaggle" and name is None:
        raise DataError(
            expected="kaggle OWNER/NAME",
            found="no OWNER/NAME",
            where="fetch",
            hint="They are in the address of the data set: kaggle.com/datasets/OWNER/NAME.",
        )
    if source != "kaggle" and name is not None:
        hint = "The folder is named by --out."
        raise DataError(expected=f"nothing after {as_text(source)!r}", found=repr(as_text(name)), hint=hint)
    if not (is_kaggle or source in SOURCES or is_address(source)):
        found = "a file or folder on this disk" if Path(source).exists() else repr(as_text(source))
        hint = "`headstart train` reads it as it is." if Path(source).exists() else near(source, [*SOURCES, "kaggle"])
        raise DataError(expected=_WAYS, found=found, where="fetch", hint=hint)
    if sha256 and (is_kaggle or source in SOURCES):
        hint = "Known sets bring their own hash, and Kaggle's client checks its own."
        raise DataError(expected="--sha256 with an address only", found=f"with {as_text(source)}", hint=hint)
    if not 0 < max_gb <= 100_000:
        raise DataError(
            expected="a size in GB above 0", found=str(max_gb), where="--max-gb", hint="Such as --max-gb 20."
        )


def _folder(out: str | Path | None, name: str) -> Path:
    return Path("data") / name if out is None else out_folder(out)


def _look(fetched: Fetched) -> FetchedSet:
    try:
        return FetchedSet(fetched, scan(fetched.folder))
    except DataError as error:  # a set for something else than classes, say; it is there all the same
        return FetchedSet(fetched, None, f"Expected {error.expected}, found {error.found}")


def _notices(session: Session) -> Callable[[str], None]:
    return lambda text: session.notice(as_text(text))


class _Counter:
    """Progress of several files, each with its own reporter, in kB."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._reporters: dict[str, ProgressReporter] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        if name not in self._reporters:
            self._reporters[name] = self._session.progress(f"fetch {name}", unit="kB")
            if done < total or not total:  # a rate needs a time before
                return
        reporter = self._reporters[name]
        whole = -(-total // 1000) if total else done // 1000 + 1  # unknown: always a bit more
        reporter(-(-done // 1000) if total else done // 1000, whole)
