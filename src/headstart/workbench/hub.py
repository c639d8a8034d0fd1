"""The Hugging Face hub as push and pull see it: its client, addresses `hf://USER/NAME@REVISION`, its errors as ours."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

from headstart.errors import HeadstartError, RunError, first_line
from headstart.files import os_error
from headstart.workbench.export import MODEL, PARITY
from headstart.workbench.run import CLASSIFIER, REPORT

README = "README.md"
ONNX, ONNX_PARITY = f"export/{MODEL}", f"export/{PARITY}"  # the paths of the run's folder
FILES = (CLASSIFIER, ONNX, ONNX_PARITY, REPORT, README)  # all that is sent and fetched; any other file is left alone
FORM = "hf://USER/NAME or hf://USER/NAME@REVISION"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,199}", re.ASCII)  # a branch, a tag or a commit
_LOG_IN = "Log in (hf auth login) with a token that may do this, or check the name."
_STATUS = {
    401: ("no access without a login (401)", _LOG_IN),
    403: ("access denied (403)", _LOG_IN),
    404: ("no such repository, or none that you may see (404)", _LOG_IN),
    409: ("another change at the same time (409)", "Try again."),
    412: ("another change at the same time (412)", "Try again."),
    429: ("too many requests (429)", "Try again later."),
}
_NO_CONNECTION = "Check the network, or try again later."


def open_hub() -> Any:
    """The client of the hub at HF_ENDPOINT, else huggingface.co; it finds the user's token by itself.

    Raises:
        RunError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise RunError(
            expected="the package huggingface_hub", found=str(error), hint="pip install 'headstart[hub]'"
        ) from error
    from headstart import __version__

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    return HfApi(endpoint=endpoint, library_name="headstart", library_version=__version__)


def repository(text: str) -> str:
    """The name of a repository, checked.

    Raises:
        RunError: it is not one that the hub can have.
    """
    if not _is_repository(text):
        raise RunError(
            expected="a repository: USER/NAME", found=repr(text), where="USER/NAME", hint="Such as anna/leaf-diseases."
        )
    return text


def _is_repository(text: str) -> bool:
    return bool(_REPOSITORY.fullmatch(text)) and "--" not in text and ".." not in text  # the hub allows neither


def parse_address(address: str) -> tuple[str, str | None]:
    """Repository and revision of `hf://USER/NAME[@REVISION]`; None: no revision is named.

    Raises:
        RunError: it has another form.
    """
    name, at, revision = address.removeprefix("hf://").partition("@")
    is_bad_revision = at and (not _REVISION.fullmatch(revision) or ".." in revision)
    if not address.startswith("hf://") or not _is_repository(name) or is_bad_revision:
        raise RunError(expected=FORM, found=repr(address), where="ADDRESS", hint="Such as hf://anna/leaf-diseases.")
    return name, revision if at else None


@contextlib.contextmanager
def hub_errors(where: str, *, expected: str) -> Iterator[None]:
    """Raise what the hub or the network refuses in the block as a RunError; no progress bars or warnings meanwhile.

    Messages of the library are not passed on where they hold addresses, which may be signed; tokens never are.
    """
    from huggingface_hub.utils import logging as library_log
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    had_bars, verbosity = not are_progress_bars_disabled(), library_log.get_verbosity()
    disable_progress_bars()
    library_log.set_verbosity(logging.ERROR)  # each retry would be a warning with the address
    try:
        yield
    except HeadstartError:
        raise
    except Exception as error:  # whatever the library and its transports raise
        found, hint = _explain(error)
        if isinstance(error, OSError) and error.errno is not None and not found:
            raise os_error(error) from error
        raise RunError(expected=expected, found=found or _without_secrets(error), where=where, hint=hint) from error
    finally:
        library_log.set_verbosity(verbosity)
        if had_bars:
            enable_progress_bars()


def _explain(error: BaseException) -> tuple[str, str]:
    """What happened and what to do, by the first cause that says it; empty: none does."""
    from huggingface_hub import errors

    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for one in chain:
        if isinstance(one, errors.OfflineModeIsEnabled):
            return "HF_HUB_OFFLINE is set: the network is not to be used", "Unset HF_HUB_OFFLINE and try again."
        if isinstance(one, errors.RevisionNotFoundError):
            return "no such branch, tag or commit", "Check the part after @."
        if isinstance(one, errors.EntryNotFoundError) and isinstance(one, errors.HfHubHTTPError):
            return "a file that is listed but not there", "Try again later, or tell whoever published it."
        if isinstance(one, errors.HfHubHTTPError):
            code = one.response.status_code
            return _STATUS.get(code, (f"an error of the server ({code})", "Try again later."))
        if type(one).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"):
            return f"no connection ({type(one).__name__})", _NO_CONNECTION
        if any(base.__name__ == "TransportError" for base in type(one).__mro__):  # of httpx, whichever version
            return f"a connection that broke ({type(one).__name__})", _NO_CONNECTION
    return "", _NO_CONNECTION


def _without_secrets(error: BaseException) -> str:
    from huggingface_hub import get_token

    first = first_line(error)[:300]
    token = get_token()
    first = first.replace(token, "…") if token else first
    return f"{type(error).__name__}: {re.sub(r'hf_[A-Za-z0-9_]+', '…', re.sub(r'[?][^ ]+', '', first))}"
