"""The blocks of the documentation: each runs or says why not, and what it prints is pasted behind it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from docs_modules import load

DOCS = Path(__file__).parents[2] / "docs"
SOURCES = sorted(
    page for page in DOCS.rglob("*.md") if not {"_generated", "_build"} & set(page.relative_to(DOCS).parts)
)
LISTINGS = {"text", "toml", "nginx", "csv", "json", "yaml"}


@pytest.fixture
def runner() -> ModuleType:
    return load("run_blocks")


@pytest.fixture
def page(runner: ModuleType, tmp_path: Path) -> object:
    """Runs a page in an empty folder: `page(text)` gives what is pasted."""
    (tmp_path / "here").mkdir()
    return lambda text: runner.Page("page", tmp_path / "here").outputs(runner.blocks_of(text))


def test_each_block_runs_or_is_a_listing_and_one_that_cannot_run_says_why(runner: ModuleType) -> None:
    ran = 0
    for source in SOURCES:
        for block in runner.blocks_of(source.read_text("utf-8")):
            directive = block.language.startswith("{")
            assert directive or block.language in {"", runner.PICTURE, *runner.RUNS, *LISTINGS}, (
                source.name,
                block.language,
            )
            assert len(block.notes.get("not run", "a reason")) >= 8, source.name
            ran += block.runs
    assert ran >= 60


def test_no_command_hides_in_an_indented_block() -> None:
    for source in SOURCES:
        outside = re.sub(r"^```.*?^```", "", source.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"^    headstart ", outside, re.MULTILINE), source.name


def test_code_and_commands_of_a_page_share_names_and_folder(page: object) -> None:
    text = """
<!-- file numbers.txt -->
```text
2
3
```

<!-- first: unseen = 10 -->
```python
from pathlib import Path
seen = unseen * sum(map(int, Path("numbers.txt").read_text().split()))
seen
```

```bash
cat numbers.txt
echo $((4 + 4)) > eight.txt
```

```python
print(seen, Path("eight.txt").read_text().strip())
```
"""
    listing, first, commands, second = page(text)  # type: ignore[operator]

    assert listing == ""
    assert "\n50\n" in first
    assert "$ cat numbers.txt\n2\n3" in commands
    assert "50 8" in second


def test_a_long_output_is_folded_and_no_path_of_the_machine_stays(page: object, tmp_path: Path) -> None:
    short, long = page("```python\nimport os\nos.getcwd()\n```\n```python\nprint('line\\n' * 40)\n```\n")  # type: ignore[operator]

    assert str(tmp_path) not in short
    assert "<details>" not in short
    assert long.count("line") == 40
    assert "<details>" in long


def test_what_fails_is_an_error_of_the_build(page: object, runner: ModuleType) -> None:
    for text, said in (
        ("```bash\nfalse\n```\n", "exit code 1, not 0"),
        ("```bash\nheadstart predict nothing there\n```\n", "exit code 2, not 0"),
        ("```python\n1 / 0\n```\n", "ZeroDivisionError"),
    ):
        with pytest.raises(runner.Failed, match=said):
            page(text)  # type: ignore[operator]
    assert page("<!-- exit code 1 -->\n```bash\nfalse\n```\n") == [""]  # type: ignore[operator]


def test_the_folder_and_the_variables_are_put_back(page: object) -> None:
    before = (Path.cwd(), dict(os.environ))
    page("```python\nimport os\nos.environ['HEADSTART_X'] = '1'\nos.chdir('..')\n```\n")  # type: ignore[operator]
    assert (Path.cwd(), dict(os.environ)) == before


def test_a_block_that_is_not_run_shows_its_reason(page: object) -> None:
    (shown,) = page("<!-- not run: it needs a cluster -->\n```bash\nfalse\n```\n")  # type: ignore[operator]
    assert "it needs a cluster" in shown


@pytest.fixture
def build(runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A build whose pages begin with an empty folder; `runs.txt` is what its blocks leave."""
    monkeypatch.setattr(runner, "KEPT", tmp_path / "kept")
    for place in range(2):
        (tmp_path / str(place) / "material").mkdir(parents=True)
    return runner.Build(tmp_path)


def leaves(word: str) -> str:
    return f"```python\nwith open('../../runs.txt', 'a') as file: file.write('{word}')\n```\n\nEnd."


def test_outputs_are_kept_by_content(build: Any, tmp_path: Path) -> None:
    first, again = build.page("one", leaves("x")), build.page("one", leaves("x"))
    build.page("one", leaves("y"))

    assert first == again
    assert first.startswith("```python")
    assert first.endswith("\n\nEnd.")
    assert (tmp_path / "runs.txt").read_text() == "xy"


@pytest.mark.slow
def test_pages_run_in_children_and_what_is_kept_does_not_run_again(build: Any, tmp_path: Path) -> None:
    pages = {"one": leaves("x"), "two": leaves("y"), "three": "No block.", "four": "```python\n1 / 0\n```\n"}
    calls = build.calls(pages)
    assert len(calls) == 3
    load("forked").run_all(calls, 2)

    assert sorted((tmp_path / "runs.txt").read_text()) == ["x", "y"]
    assert build.page("one", pages["one"]).endswith("End.")
    assert len(build.calls(pages)) == 1  # the one that failed
    with pytest.raises(load("run_blocks").Failed, match="ZeroDivisionError"):
        build.page("four", pages["four"])
    assert sorted((tmp_path / "runs.txt").read_text()) == ["x", "y"]


def test_a_listing_without_a_language_is_no_picture(page: Any) -> None:
    assert page("```\nheadstart export runs/photos --to page   # runs/photos/page\n```\n") == [""]
