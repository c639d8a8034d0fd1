"""selftest: a training that was never killed proves nothing, and the options are checked."""

from __future__ import annotations

import pytest

from headstart.errors import RecipeError
from headstart.workbench.selftest import SelfTest, selftest


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("predict", {}, "resume"),
        ("resume", {"kills": 0}, "at least one kill"),
        ("resume", {"strategy": "probe"}, "last-stage"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(what: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        selftest(what, **options, on_event=None)  # type: ignore[arg-type]


def test_equal_weights_count_only_after_a_kill() -> None:
    assert SelfTest("full", (1.0,), "a", "a").passed
    assert not SelfTest("full", (), "a", "a").passed
    assert not SelfTest("full", (1.0,), "a", "b").passed
    assert "bit" in str(SelfTest("full", (1.0,), "a", "a"))
    assert "nothing was tested" in str(SelfTest("full", (), "a", "a"))


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_one_left_alone() -> None:
    assert selftest("resume", kills=1, on_event=None).passed
