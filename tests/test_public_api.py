"""Whatever a public function is given, what leaves it is our error, or Python's own word for a wrong call."""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import headstart as hs
from headstart.errors import DataError, HeadstartError, PackageError, RecipeError, RunError
from headstart.public_api import fits, in_words, public_api, under_usual_torch

NONSENSE: tuple[Callable[[], object], ...] = (
    lambda: None,
    lambda: -1,
    lambda: float("nan"),
    lambda: "",
    lambda: "a\0b",
    lambda: "x" * 5000,
    lambda: b"bytes",
    lambda: ["a", 3],
    lambda: {"a": 1},
    object,
    lambda: np.zeros(3),
    lambda: torch.zeros(2, 2),
    lambda: len,
    lambda: io.BytesIO(b"x"),
    lambda: (i for i in range(2)),
)
NAMES = [
    name
    for name in hs.__all__
    if callable(getattr(hs, name))
    and not (inspect.isclass(getattr(hs, name)) and issubclass(getattr(hs, name), Exception))
    and not inspect.isabstract(getattr(hs, name))
]


TAKE_LONG, SLOW = {"advise", "continue_run", "embed"}, pytest.mark.slow  # they open a network before they see


def calls(name: str) -> Iterator[tuple[str, Callable[..., Any], dict[str, object]]]:
    """Calls of a public name, and of a class's class methods, with every parameter given something wrong."""
    value = getattr(hs, name)
    doors = {name: value}
    if inspect.isclass(value) and value is not hs.StepByStep:  # its class methods keep the book's own errors
        doors |= {f"{name}.{key}": one for key, one in inspect.getmembers(value, inspect.ismethod) if key[0] != "_"}
    for door, function in doors.items():
        parameters = inspect.signature(function).parameters.values()
        named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        needed = [one.name for one in named if one.default is one.empty]
        quiet = {"on_event": None} if any(one.name == "on_event" for one in named) else {}
        for make in NONSENSE:
            for extra in ("", *(one.name for one in named if one.name not in (*needed, "on_event"))):
                given = {key: make() for key in (*needed, *([extra] if extra else []))}
                yield f"{door}({given!r})"[:200], function, {**given, **quiet}


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW) if name in TAKE_LONG else name for name in NAMES])
def test_nonsense_gives_one_of_our_errors(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    foreign = []
    for shown, function, given in calls(name):
        try:
            result = function(**given)
            if hasattr(result, "__enter__") and not isinstance(result, io.IOBase):
                with result:
                    pass
        except HeadstartError:
            continue
        except Exception as error:
            foreign.append(f"{shown}: {type(error).__name__}: {error}")
    assert foreign == []


def test_an_unknown_keyword_keeps_pythons_words() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        hs.wilson(1, 2, colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing"):
        hs.wilson(1)  # type: ignore[call-arg]


@pytest.mark.parametrize("make", NONSENSE)
def test_a_classifier_refuses_what_is_no_image_in_one_sentence(
    make: Callable[[], object], small_classifier: Callable[[bool], Any]
) -> None:
    classifier, source = small_classifier(False), make()
    found = None
    with contextlib.suppress(DataError):
        found = classifier.predict(source)
    # bytes that could be an image, or an iterable of things that could be
    assert all(one.error for one in (found if isinstance(found, list) else [found] if found else []))


@public_api
def _double(values: Sequence[int], *, path: Path | None = None) -> list[int]:
    if path is not None:
        path.read_bytes()
    return [value + value for value in values if value != 13 or 1 // 0]


def test_the_argument_that_does_not_fit_is_named() -> None:
    with pytest.raises(RecipeError, match=r"Sequence of int as values, found 3\.5 "):
        _double(3.5)  # type: ignore[arg-type]
    assert _double([1, 2]) == [2, 4]


def test_what_the_system_refuses_has_path_and_reason(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"No such file or directory \(.*nowhere"):
        _double([], path=tmp_path / "nowhere")


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        _double([13])


@pytest.mark.parametrize(
    ("value", "hint", "answer"),
    [
        (1, int, True),
        (np.int64(1), int, True),
        (True, int, False),
        (1, float, True),
        ("a", Sequence[str], True),
        ([1], Sequence[str], False),
        ({"a": 1}, Mapping[str, int], True),
        ({"a": "b"}, Mapping[str, int], False),
        (None, int | None, True),
        ((1, "a"), tuple[int, str], True),
        ((1,), tuple[int, str], False),
        ((), Sequence[str], True),
        (("a", "b"), Sequence[str], True),
        (("a", 1), Sequence[str], False),
        (len, Callable[[int], int], True),
        (3, Callable[[int], int], False),
        ("b", Literal["a"], False),
        (np.zeros(2), np.ndarray[Any, Any], True),
        (object(), Any, True),
    ],
)
def test_whether_a_value_fits_its_annotation(value: object, hint: Any, answer: bool) -> None:
    assert fits(value, hint) is answer


def test_annotations_are_said_in_words() -> None:
    assert in_words(str | Path | None) == "str or Path or None"
    assert in_words(Callable[[int], int]) == "a function"
    assert in_words(Sequence[str]) == "Sequence of str"


def test_an_os_error_of_any_kind_is_ours() -> None:
    @public_api
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

    with pytest.raises(RunError, match=r"No space left on device \(/some/file\)\. Free some space"):
        full()


def test_a_package_of_torch_that_is_missing_is_said_and_another_one_keeps_its_traceback() -> None:
    @public_api
    def use(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    with pytest.raises(PackageError, match="headstart needs scipy for this"):
        use("scipy.stats")
    with pytest.raises(ModuleNotFoundError):
        use("somewhere")


def test_an_empty_text_is_not_the_folder_one_is_in() -> None:
    @public_api
    def use(run: str, images: Any = (), note: str = "") -> int:
        return len(images)

    assert use("run", ["a", "b"], note="") == 2
    for arguments, named in ((("",), {}), (("run", ["a", " "]), {}), ((), {"run": "run", "images": ""})):
        with pytest.raises(RecipeError, match=r"found an empty text .*the folder you are in"):
            use(*arguments, **named)


def test_a_function_that_fails_puts_the_default_type_back() -> None:
    @under_usual_torch
    def fail() -> None:
        assert torch.get_default_dtype() is torch.float32
        raise OSError

    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(OSError):  # of this test
            fail()
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_package_that_fails_while_it_is_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "oddpackage.py").write_text("def read():\n    raise ValueError('no such level: loud')\n\nread()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ODDPACKAGE_LEVEL", "loud")

    @public_api
    def verb() -> None:
        import oddpackage  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(RunError) as refused:
        verb()
    said = dict(refused.value.lines())
    assert said["expected"] == "the package oddpackage to be importable"
    assert said["found"] == "ValueError: no such level: loud"
    assert "(set: ODDPACKAGE_LEVEL)" in said["next"]


def test_an_error_of_ours_beside_an_import_stays_a_bug() -> None:
    @public_api
    def verb() -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        verb()
