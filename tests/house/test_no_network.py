"""Tests reach this machine by each of its addresses, and no other one."""

from __future__ import annotations

import socket

import pytest


def test_this_machine_is_reached_by_each_of_its_addresses_and_no_other_one_is() -> None:
    with socket.socket() as server:
        try:
            server.bind(("127.0.0.2", 0))  # beside the usual one
        except OSError:
            pytest.skip("this system has no second address")
        server.listen()
        socket.create_connection(server.getsockname(), timeout=5).close()
    for host in ("198.51.100.1", "2001:db8::1", "example.org"):  # of documentation
        with pytest.raises(OSError, match=r"must not reach|not known|resolution|No address|failure"):
            socket.create_connection((host, 9), timeout=5)
