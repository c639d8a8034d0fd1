"""hub: addresses, what the hub refuses in words, and no token in any of them."""

from __future__ import annotations

import sys
from logging import StreamHandler
from pathlib import Path

import pytest

from headstart.errors import HeadstartError, RunError
from headstart.workbench.hub import hub_errors, parse_address, repository

pytest.importorskip("huggingface_hub")


def test_an_address_is_a_repository_and_perhaps_a_revision() -> None:
    assert parse_address("hf://anna/leaf-diseases") == ("anna/leaf-diseases", None)
    assert parse_address("hf://anna/leaf-diseases@refs/pr/1") == ("anna/leaf-diseases", "refs/pr/1")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "anna/leaf",
        "hf://",
        "hf://anna",
        "hf://a/b/c",
        "hf://../b",
        "hf://anna/b@",
        "hf://anna/b@../x",
        "hf://a/b c",
    ],
)
def test_any_other_form_is_refused_with_the_right_one(address: str) -> None:
    with pytest.raises(RunError) as caught:
        parse_address(address)
    assert caught.value.expected == "hf://USER/NAME or hf://USER/NAME@REVISION"
    assert caught.value.found == repr(address)
    assert "hf://" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["anna", "/leaf", "anna/", "anna/leaf\n", "-a/b", "https://huggingface.co/anna/leaf"])
def test_a_repository_has_two_names(name: str) -> None:
    with pytest.raises(RunError, match="USER/NAME"):
        repository(name)


def test_no_token_and_no_signature_is_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token-of-mine")
    message = "failed with a-token-of-mine, hf_AbCd12 at https://host/file?Signature=secret"
    with pytest.raises(RunError) as caught, hub_errors("hf://a/b", expected="files"):
        raise RuntimeError(message)

    assert caught.value.found == "RuntimeError: failed with …, … at https://host/file"


def test_warnings_of_the_library_hold_addresses_and_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from huggingface_hub.utils import logging

    before, logger = logging.get_verbosity(), logging.get_logger("huggingface_hub.file_download")
    logger.addHandler(handler := StreamHandler(sys.stdout))
    logger.warning("seen")
    with hub_errors("hf://a/b", expected="files"):
        logger.warning("Error while downloading from https://host/file?Signature=secret")
        assert not logger.isEnabledFor(logging.WARNING)

    logger.removeHandler(handler)
    assert capsys.readouterr().out == "seen\n"
    assert logging.get_verbosity() == before


def test_our_own_errors_and_the_disks_pass_as_such() -> None:
    own = RunError(expected="a", found="b")
    with pytest.raises(HeadstartError) as caught, hub_errors("hf://a/b", expected="files"):
        raise own
    assert caught.value is own
    with pytest.raises(RunError, match="No space left"), hub_errors("hf://a/b", expected="files"):
        raise OSError(28, "No space left on device", str(Path("x")))
