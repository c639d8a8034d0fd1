"""Data sets known by name, and any http(s) address as a data set."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headstart.errors import DataError

_ENDINGS = re.compile(r"\.(zip|tgz|tbz2|txz|tar|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_HASH_IN_URL = re.compile(r"sha256=([0-9a-fA-F]+)")


@dataclass(frozen=True)
class Archive:
    """One archive of a data set.

    Args:
        mirrors: addresses of the same bytes, tried in order.
        sha256: hex, or its first digits; empty: not checked.
        inside: folder in the archive to use; empty: all of it.
        folder: folder of the data set that it becomes, such as `train`; empty: the data set itself.
    """

    mirrors: tuple[str, ...]
    sha256: str = ""
    inside: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Source:
    """A data set to fetch.

    Args:
        title: for people. key: for machines, equal for equal data sets. name: of its folder by default.
        licence: where known. home: page about it, where known.
    """

    title: str
    key: str
    name: str
    archives: tuple[Archive, ...]
    licence: str = ""
    home: str = ""


def _mirrors(file: str) -> tuple[str, ...]:
    """Buckets that held the file with this length when others fetched it, the publisher's own first.

    The first is the address of tensorflow_datasets; the second and third serve the author's courses (seen 2023 and
    2024); the last is the original address, reported as removed in 2023.
    """
    bucket = "https://storage.googleapis.com/"
    folders = ("download.tensorflow.org/data", "tensorflow-1-public/course2/week4", "learning-datasets",
               "laurencemoroney-blog.appspot.com")  # fmt: skip
    return tuple(f"{bucket}{folder}/{file}" for folder in folders)


# Rock Paper Scissors by Laurence Moroney, 2019: 2520 + 372 drawn hands, 300×300 px. Hashes and lengths (200,682,221
# and 29,516,758 bytes) are those that tensorflow_datasets lists in url_checksums/rock_paper_scissors.txt.
RPS = Source(
    title="Rock Paper Scissors, by Laurence Moroney",
    key="rps",
    name="rps",
    archives=(
        Archive(
            mirrors=_mirrors("rps.zip"),
            sha256="c2403444395842ad04c53612bad54b574443eae17a0723117a2ff87b9d72194f",
            inside="rps",
            folder="train",
        ),
        Archive(
            mirrors=_mirrors("rps-test-set.zip"),
            sha256="c27ab9fa43ce40b2e453de711365b477f4424586edf0388116674fd320f07503",
            inside="rps-test-set",
            folder="test",
        ),
    ),
    licence="CC BY 2.0",
    home="https://laurencemoroney.com/datasets.html",
)

SOURCES: dict[str, Source] = {"rps": RPS}


def is_address(text: str) -> bool:
    """True for an http or https address."""
    return text.lower().startswith(("http://", "https://"))


def source_of_address(url: str, sha256: str = "") -> Source:
    """The data set at an address; `URL#sha256=HEX` means the same as the argument.

    Raises:
        DataError: the address or the hash cannot be used.
    """
    try:
        split = urlsplit(url)
        host = split.hostname
    except ValueError as error:
        raise _unusable(url, str(error)) from error
    if not host:
        raise _unusable(url, "one without a server")
    if split.username or split.password:
        raise _unusable(url, "one with a name or password, which would be stored and displayed")
    in_url = _HASH_IN_URL.fullmatch(split.fragment)
    if split.fragment and not in_url:
        raise _unusable(url, f"#{split.fragment}")
    plain = split._replace(fragment="").geturl()
    title = split._replace(fragment="", query="").geturl()
    archive = Archive((plain,), check_sha256(sha256 or (in_url.group(1) if in_url else "")))
    return Source(title, "url:" + hashlib.sha256(plain.encode()).hexdigest(), _name(split.path), (archive,))


def check_sha256(sha256: str) -> str:
    """The hash in lower case.

    Raises:
        DataError: not 8 to 64 hex digits.
    """
    if sha256 and not re.fullmatch(r"[0-9a-fA-F]{8,64}", sha256):
        raise DataError(expected="8 to 64 hex digits", found=repr(sha256), where="--sha256",
                        hint="`sha256sum FILE` prints it.")  # fmt: skip
    return sha256.lower()


def _name(path: str) -> str:
    file = _ENDINGS.sub("", Path(unquote(path)).name)
    return re.sub(r"[^\w.-]+", "_", file).strip("._") or "images"


def _unusable(url: str, found: str) -> DataError:
    expected = "an http(s) address of a zip or tar, with #sha256=HEX or nothing after it"
    return DataError(expected=expected, found=found, where=url)
