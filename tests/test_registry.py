"""Registries: what is taken, what may be defined again, what is imported when."""

from __future__ import annotations

import sys

import pytest

from headstart.errors import RecipeError
from headstart.registry import Registry


def a_registry() -> Registry[object]:
    return Registry("colour", "colours-of-a-test", {"own": "colorsys:rgb_to_hsv"})


def test_own_values_are_imported_when_they_are_used() -> None:
    sys.modules.pop("colorsys", None)
    registry = a_registry()

    assert list(registry) == ["own"]
    assert "colorsys" not in sys.modules
    assert registry.find("own") is sys.modules["colorsys"].rgb_to_hsv


def test_what_is_registered_is_found_and_can_be_removed() -> None:
    registry = a_registry()
    registry.register("red")("value")

    assert registry.find("red") == "value"
    assert len(registry) == 2
    registry.remove("red")
    assert "red" not in registry


def test_own_names_and_other_values_are_taken() -> None:
    registry = a_registry()
    registry.add("red", print)

    with pytest.raises(RecipeError, match=r"a new name for a colour.*'own'"):
        registry.add("own", print)
    with pytest.raises(RecipeError, match=r"registered already.*Choose another name"):
        registry.add("red", len)


def test_a_function_that_is_defined_again_replaces_itself() -> None:
    registry = a_registry()
    for number in range(2):

        @registry.register("red")
        def red(answer: int = number) -> int:
            return answer

    assert registry["red"]() == 1


def test_an_unknown_name_has_near_ones_in_its_hint() -> None:
    with pytest.raises(RecipeError, match=r"a known colour, found 'onw'.*Did you mean own"):
        a_registry().find("onw")
