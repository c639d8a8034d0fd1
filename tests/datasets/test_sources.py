"""Data sets by name and by address."""

from __future__ import annotations

import pytest

from headstart.datasets.sources import RPS, SOURCES, check_sha256, is_address, source_of_address
from headstart.errors import DataError


def test_the_known_mirrors_are_https_and_pinned() -> None:
    for archive in RPS.archives:
        assert len(archive.sha256) == 64
        assert all(url.startswith("https://storage.googleapis.com/") for url in archive.mirrors)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/a/My%20photos%202.tar.gz?dl=1", "My_photos_2"),
        ("https://host/", "images"),
        ("https://host/..%2F..%2Fetc.zip", "etc"),
        ("https://host/.hidden.ZIP", "hidden"),
        ("https://host/Blätter.zip", "Blätter"),
    ],
)
def test_the_folder_is_named_after_the_archive_without_its_path(url: str, name: str) -> None:
    assert source_of_address(url).name == name


@pytest.mark.parametrize(
    "url",
    ["https://me:word@host/a.zip", "https:///a.zip", "https://[::1/a.zip", "https://host/a.zip#page2"],
)
def test_an_address_that_cannot_be_used_is_an_error(url: str) -> None:
    with pytest.raises(DataError, match="address of a zip or tar"):
        source_of_address(url)


def test_a_hash_in_the_address_and_as_an_argument_mean_the_same() -> None:
    url, sha256 = "https://host/a.zip", "AB" * 32

    assert source_of_address(f"{url}#sha256={sha256}") == source_of_address(url, sha256)
    with pytest.raises(DataError, match="8 to 64 hex digits"):
        check_sha256("md5")


def test_names_and_addresses_are_distinguished() -> None:
    assert SOURCES["rps"] is RPS
    assert [is_address(text) for text in ("https://a", "HTTP://a", "rps", "ftp://a")] == [True, True, False, False]
