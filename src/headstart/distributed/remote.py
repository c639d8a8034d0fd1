"""Files on this machine and elsewhere by one name: paths, and addresses such as s3://, gs:// and hdfs:// by fsspec."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from headstart.errors import DataError, kind_and_line
from headstart.untrusted import sha256_of

# what brings the driver of a scheme, where fsspec has it not itself
_DRIVERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs",
            "http": "aiohttp", "https": "aiohttp", "hdfs": "pyarrow with libhdfs"}  # fmt: skip


def is_url(path: str) -> bool:
    """Whether this is an address and no path of this machine."""
    return "://" in path


def joined(url: str, path: str) -> str:
    """A path in a table that lies at this address: an address, an absolute path, or one beside the table."""
    if is_url(path) or (path.startswith("/") and not is_url(url)):
        return path
    scheme, mark, rest = url.rpartition("://")
    return f"{scheme}{mark}{PurePosixPath(rest).parent / path}"


@contextlib.contextmanager
def open_url(url: str) -> Iterator[IO[bytes]]:
    """A file or address, opened for reading.

    Raises:
        DataError: it does not exist, cannot be reached, or the driver of its scheme is not installed.
    """
    if not is_url(url):
        try:
            file = Path(url).open("rb")  # noqa: SIM115  # closed below; only what opening raises is caught
        except OSError as error:
            raise DataError(
                expected="a file that can be read", found=error.strerror or str(error), where=url
            ) from error
        with file:
            yield file
        return
    system, path = _system(url)
    with _reached(url), system.open(path, "rb") as file:
        yield file


def identity(url: str, *, verify: bool = False) -> str:
    """What a file or address is now, in words that change when it does: path, size, times, or what its store states.

    Args:
        verify: of a file, its bytes instead of its times, which may change when it does not, or stay when it does.
    """
    if not is_url(url):
        try:
            found = os.stat(url)  # noqa: PTH116  # an absolute or relative path as it stands
        except (OSError, ValueError):
            return f"{url} missing"
        now = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"  # programs set the first of the times
        return f"{Path(url).absolute()} {_hash_of(Path(url)) or now if verify else now}"
    system, path = _system(url)
    with _reached(url):
        return f"{url} {system.checksum(path)}"


def _hash_of(path: Path) -> str:
    """SHA-256, hex, of a file's bytes; empty: it cannot be read, which is reported where its images are."""
    try:
        return sha256_of(path) if path.is_file() else ""
    except OSError:
        return ""


def expand_url(url: str, suffix: str) -> list[str]:
    """The files that a pattern, a folder or a file stands for, sorted; of a folder those with this suffix, also deeper.

    Raises:
        DataError: there is none, or it cannot be reached.
    """
    if not is_url(url):
        return _expand_path(Path(url), suffix)
    system, path = _system(url)
    scheme = url.partition("://")[0]
    with _reached(url):
        if any(c in path for c in "*?["):
            found = system.glob(path)
        elif system.isdir(path):
            found = [one for one in system.find(path) if one.endswith(suffix)]
        else:
            found = [path]
    if not found:
        raise DataError(expected=f"{suffix} files", found="none", where=url)
    return sorted(f"{scheme}://{one}" for one in found)


def _expand_path(path: Path, suffix: str) -> list[str]:
    if any(c in str(path) for c in "*?[") and not path.exists():
        absolute = path.absolute()
        found = sorted(map(str, Path(absolute.anchor).glob(str(absolute.relative_to(absolute.anchor)))))
    else:
        found = sorted(map(str, path.rglob(f"*{suffix}"))) if path.is_dir() else [str(path)]
    if not found:
        raise DataError(expected=f"{suffix} files", found="none", where=path)
    return found


def _system(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url)
    except ImportError as error:
        package = _DRIVERS.get(scheme, "fsspec")
        raise DataError(
            expected=f"the package {package} to read {scheme}://",
            found="not installed",
            where=url,
            hint=f'pip install "headstart[distributed]" {package}',
        ) from error
    except ValueError as error:
        raise DataError(expected="an address that fsspec knows", found=str(error), where=url) from error
    except Exception as error:  # drivers raise errors of their own: no credentials, no such host
        raise _unreached(url, error) from error
    return system, path


@contextlib.contextmanager
def _reached(url: str) -> Iterator[None]:
    """Whatever a driver raises in the block becomes one of our errors."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # as above
        raise _unreached(url, error) from error


def _unreached(url: str, error: Exception) -> DataError:
    return DataError(
        expected="an address that can be read",
        found=kind_and_line(error),
        where=url,
        hint="Check the address, the network and your credentials.",
    )
