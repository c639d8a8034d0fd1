"""ServerLimits: what the defaults allow, in the sizes that people have."""

from __future__ import annotations

from headstart.serving.limits import ServerLimits


def test_photographs_of_phones_pass_and_all_that_may_wait_fits_into_memory() -> None:
    limits = ServerLimits()

    assert limits.body_bytes > 25_000_000
    assert limits.pixels >= 50_000_000
    assert limits.waiting * limits.body_bytes < 4_000_000_000
