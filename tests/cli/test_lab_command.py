"""The command `lab`: its list, its verdict in words and JSON, its picture, and no traceback whatever one types."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from headstart.cli.main import main
from headstart.lab.catalogue import names

Lab = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["lab", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(left.value.code or 0), out, err

    return call


def test_without_a_name_all_experiments_are_listed(lab: Lab) -> None:
    code, out, _ = lab()

    assert code == 0
    assert all(name in out for name in names())


@pytest.mark.slow
def test_the_list_as_json_has_names_and_claims(lab: Lab) -> None:
    _, out, _ = lab("--json")

    assert [entry["name"] for entry in json.loads(out)] == list(names())


def test_a_verdict_is_printed_with_every_number(lab: Lab) -> None:
    code, out, err = lab("batch-norm-1d")

    assert (code, err) == (0, "")
    assert "0.8772" in out
    assert "-0.0228" in out
    verdict = "Verdict: The claim holds. 10 of the 10 numbers printed in the source were reproduced."
    assert out.rstrip().endswith(verdict)


@pytest.mark.slow
def test_json_is_alone_on_stdout_and_the_picture_is_written_beside_it(lab: Lab, tmp_path: Path) -> None:
    code, out, _ = lab("batch_norm_2d", "--json", "--figure", "norm.png")

    assert code == 0
    assert json.loads(out)["holds"] is True
    with Image.open(tmp_path / "norm.png") as picture:
        assert picture.width > 600
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_a_claim_that_does_not_hold_under_changed_settings_ends_with_code_1(lab: Lab) -> None:
    code, out, _ = lab("batch_norm_2d", "--set", "eps=0.1", "--set", "side=6")

    assert code == 1
    assert "The claim does not hold here" in out
    assert "eps=0.1" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("identty",), "Did you mean identity?"),
        (("identity", "--set", "poinst=7"), "Did you mean points"),
        (("identity", "--set", "points"), "NAME=VALUE"),
        (("identity", "--set", "points=many"), "a value like 100"),
        (("one_by_one", "--set", "weights=[1, 2]"), "a value like (0.299"),
        (("batch_norm_1d", "--set", "eps=NaN", "--json"), "a finite number"),
        (("one_by_one", "--set", "weights=[1, 2, 1e999]", "--json"), "a finite number"),
        (("one_by_one", "--figure", "hand.xyz"), "'.xyz'"),
        (("one_by_one", "--figure", "no/such/folder/hand.png"), "a file that can be written"),
    ],
)
def test_a_mistake_is_explained_in_four_lines_at_most(lab: Lab, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = lab(*arguments)

    assert code == 2
    assert message in err
    assert len(err.strip().split("\n")) <= 5


@pytest.mark.slow
def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from headstart.cli.main import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['lab'])\n"
        "print(sorted({'torch', 'matplotlib', 'numpy'} & set(sys.modules)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.slow
def test_exercises_are_listed_written_and_refused_without_a_name(lab: Lab, tmp_path: Path) -> None:
    code, out, _ = lab("exercises")
    assert code == 0
    assert "leave-one-out" in out
    assert "experiment" not in out
    assert "headstart lab exercise NAME" in out

    code, out, _ = lab("exercise", "residual")
    assert code == 0
    assert "residual.py" in out
    assert (tmp_path / "residual.py").is_file()

    for wrong in (("exercise",), ("check",), ("check", "missing.py"), ("identity", "more"), ("identity", "--solution")):
        assert lab(*wrong)[0] == 2


@pytest.mark.slow
def test_a_file_that_fails_its_checks_ends_with_exit_code_1(lab: Lab) -> None:
    lab("exercise", "residual")

    code, out, _ = lab("check", "residual.py", "--quiet")

    assert code == 1
    assert "0 of 3 checks passed" in out
