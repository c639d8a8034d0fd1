"""Files from outside: regular, bounded, and JSON of bounded depth with finite numbers and the expected types."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from headstart.untrusted import (
    NotFinite,
    Untrusted,
    check_fields,
    parse_json,
    parse_object,
    read_bytes,
    read_object,
    read_text,
    write_sealed,
)

SOURCE = Path(__file__).parents[1] / "src" / "headstart"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "deeper"),
        ("[" * 40 + "]" * 40, "deeper"),
        ('{"a":' * 40 + "1" + "}" * 40, "deeper"),
        ('{"a": 1, "a": 2}', "twice"),
        ("{", "no JSON"),
        ("9" * 5000, "no JSON"),
        ("[1] [2]", "no JSON"),
    ],
)
def test_what_is_no_plain_json_is_one_kind_of_error(text: str, reason: str) -> None:
    with pytest.raises(Untrusted, match=reason):
        parse_json(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    with pytest.raises(NotFinite):
        parse_json(text)


def test_plain_json_comes_as_python_reads_it() -> None:
    assert parse_json('{"a": [1, 2.5, null, true, "ü"]}') == {"a": [1, 2.5, None, True, "ü"]}
    assert parse_json("[" * 32 + "]" * 32)
    assert parse_json(b"\xef\xbb\xbf[1]\r\n") == [1]  # as an editor of Windows saves it
    with pytest.raises(Untrusted, match="more than 3 characters"):
        parse_json("[1, 2]", most=3)


@pytest.mark.parametrize("values", ['{"a": "x"}', '{"a": true}', "{}", "[]", "5", '{"a": null}'])
def test_a_value_of_another_kind_is_named(values: str) -> None:
    with pytest.raises(Untrusted, match=r"a is|no a|object"):
        parse_object(values, {"a": int})


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="the kernel's log, whose reading waits, is Linux's")
def test_a_file_of_the_kernel_is_refused_though_it_calls_itself_regular() -> None:
    with pytest.raises(Untrusted, match="a file of the kernel"):
        read_bytes(Path("/proc/kmsg"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("pipe", "a pipe"), ("zero", "a device"), (".", "a folder")):
        with pytest.raises(Untrusted, match=kind):
            read_text(tmp_path / name)


def test_a_file_is_bounded_and_utf_8(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "latin").write_bytes(b"\xff\xff")
    with pytest.raises(Untrusted, match="more than 10 bytes"):
        read_text(tmp_path / "large", most=10)
    with pytest.raises(Untrusted, match="UTF-8"):
        read_text(tmp_path / "latin")


def test_a_sealed_file_is_read_back_and_any_change_is_seen(tmp_path: Path) -> None:
    path, values = tmp_path / "card.json", {"b": 0.1, "a": ["ü", None, {"c": 1}]}
    write_sealed(path, values)
    assert read_object(path) == values

    path.write_text(path.read_text("utf-8").replace("0.1", "0.3"), "utf-8")
    with pytest.raises(Untrusted, match="checksum"):
        read_object(path)
    path.write_text('{"a": 1}', "utf-8")  # of before there were checksums
    assert read_object(path) == {"a": 1}


@dataclass(frozen=True)
class Inner:
    """One number."""

    number: float


@dataclass(frozen=True)
class Outer:
    """All kinds of fields."""

    name: str
    count: int
    pair: tuple[int, int]
    inner: tuple[Inner, ...]
    table: Mapping[str, float]
    maybe: Inner | None = None


GOOD = {"name": "a", "count": 1, "pair": (1, 2), "inner": (Inner(1),), "table": {"x": 1}}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"name": 1}, "name is 1"),
        ({"count": True}, "count is True"),
        ({"count": 1.5}, "count is 1.5"),
        ({"pair": (1, 2, 3)}, "pair has 3 values"),
        ({"pair": (1, "x")}, r"pair\[1\] is 'x'"),
        ({"inner": (Inner("x"),)}, r"inner\[0\].number is 'x'"),  # type: ignore[arg-type]
        ({"table": {"x": "y"}}, r"table\['x'\] is 'y'"),
        ({"maybe": 3}, "maybe is 3"),
    ],
)
def test_a_field_of_another_type_is_named(changes: dict[str, object], place: str) -> None:
    assert check_fields(Outer(**GOOD)) == Outer(**GOOD)  # type: ignore[arg-type]
    with pytest.raises(Untrusted, match=place):
        check_fields(Outer(**{**GOOD, **changes}))  # type: ignore[arg-type]


@pytest.mark.slow
def test_no_other_place_parses_json() -> None:
    guilty = [
        f"{path.relative_to(SOURCE)} line {node.lineno}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("json.load", "json.loads", "json.JSONDecoder")
        and path.name not in ("untrusted.py", "runtime_onnx.py")  # the second imports nothing of ours
    ]
    assert guilty == []
