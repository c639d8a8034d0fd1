"""Registries: what is taken, what may be defined again, what is imported when."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headstart.errors import RecipeError
from headstart.registry import Registry, foreign_code


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
    registry.register("red")(str.upper)

    assert registry.find("red") is str.upper
    assert len(registry) == 2
    registry.remove("red")
    assert "red" not in registry


def test_own_names_and_other_values_are_taken() -> None:
    registry = a_registry()
    registry.add("red", print)

    with pytest.raises(RecipeError, match=r"a name that no other colour has.*'own'"):
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


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    """A registry for which a package is installed: it offers `fine`, and `broken`, whose module is missing."""
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headstart.things]\nfine = plugged:fine\nbroken = missing_module:x\n")
    (tmp_path / "plugged.py").write_text("def fine():\n    return 'from the plug-in'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Registry("thing", "things")


def test_entry_points_are_listed_without_an_import_and_loaded_when_used(plugin: Registry[object]) -> None:
    assert sorted(plugin) == ["broken", "fine"]
    assert "plugged" not in sys.modules
    assert plugin["fine"]() == "from the plug-in"  # type: ignore[operator]


def test_a_package_that_cannot_be_imported_is_named(plugin: Registry[object]) -> None:
    with pytest.raises(RecipeError, match=r"point 'broken', found ModuleNotFoundError.*remove the package plugin"):
        plugin.find("broken")


@pytest.mark.parametrize("value", [5, "text", None])
def test_what_cannot_be_called_is_refused(value: object) -> None:
    with pytest.raises(RecipeError, match=rf"a function as the colour 'red', found {type(value).__name__}"):
        a_registry().register("red")(value)


@pytest.mark.parametrize("name", [len, 5, "", " ", "a\nb", None])
def test_a_decorator_without_a_name_is_refused_at_once(name: object) -> None:
    with pytest.raises(RecipeError, match=r'a name for the colour.*Write @register_colour\("name"\)'):
        a_registry().register(name)  # type: ignore[arg-type]


def offer(folder: Path, package: str, names: dict[str, str], code: str = "") -> None:
    """A package in a folder that offers `names` as colours."""
    (folder / f"{package}.py").write_text(code or "def it(): ...\n")
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in names.items())
    (about / "entry_points.txt").write_text(f"[headstart.colours-of-a-test]\n{lines}")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import sys; sys.exit(3)", r"it called sys\.exit\(3\)"),
        ("it = 5", "int, which cannot be called"),
        ("def it(:", "SyntaxError"),
        ("x = 1", "AttributeError"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, found: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = f"plug_{abs(hash(code))}"
    offer(tmp_path, package, {"red": f"{package}:it"}, code)

    with pytest.raises(
        RecipeError, match=f"entry point 'red', found .*{found}.*Update or remove the package {package}"
    ):
        a_registry().find("red")


def test_a_name_that_two_packages_offer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    offer(tmp_path, "plug_first", {"red": "plug_first:it", "own": "plug_first:it"})
    offer(tmp_path, "plug_second", {"red": "plug_second:it"})
    registry = a_registry()

    with pytest.warns(UserWarning, match="offers a colour 'red', too: that of the package plug_(first|second) is used"):
        red = registry.find("red")
    with pytest.warns(UserWarning, match="the package plug_first offers a colour 'own', too: headstart's own is used"):
        own = registry.find("own")

    assert registry.owner("red").removeprefix("the package ") == red.__module__
    assert own is sys.modules["colorsys"].rgb_to_hsv
    assert registry.is_own("own")
    assert not registry.is_own("red")


@pytest.mark.parametrize("code", [0, 3, "bye", None])
def test_leaving_python_is_an_error(code: object) -> None:
    with pytest.raises(RuntimeError, match=r"it called sys\.exit"), foreign_code():
        sys.exit(code)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_other_errors_and_ctrl_c_pass(kind: type[BaseException]) -> None:
    with pytest.raises(kind), foreign_code():
        raise kind
