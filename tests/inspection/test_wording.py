"""Wording: what is said in a reading is counted right and safe to print."""

from __future__ import annotations

import pytest

from headstart.inspection.wording import listed, many, numbered, percent, share_between


def test_words_follow_their_number():
    assert [many(1, "pair"), many(2, "pair"), many(3, "class")] == ["1 pair", "2 pairs", "3 classes"]


def test_names_from_outside_are_made_safe_and_long_lists_cut():
    assert listed(["a\n", "b"]) == "a\\n, b"
    assert numbered(range(15), 3) == "#0, #1, #2 and 12 more"


def test_a_share_has_wilsons_interval():
    share, low, high = share_between(8, 10)  # Wilson 1927, by hand: centre 0.7162, half width 0.2267
    assert (share, low, high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert percent(0.8, 0.49, 0.943) == "80 % [49, 94]"
