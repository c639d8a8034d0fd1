"""What blocks and notebooks print, stored in `docs/outputs`: the build of the site pastes it and runs nothing again.

python docs/stored.py PAGE …        run these pages and notebooks anew, or all, and store what they print (make outputs)
python docs/stored.py --check …     run the pages anew, and say what is stored no longer

What is stored belongs to the text of its blocks: the build runs a page whose blocks have changed, one that is new, and
those that draw pictures, which are not stored. A slow test runs `--check`, so that every block is run where the tests
are. It compares words, not numbers: those of a duration, an engine or the last digit of a probability are of the
machine.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
OUTPUTS = DOCS / "outputs"
PICTURES = OUTPUTS / "pictures"  # of notebooks
ALIKE = 0.9  # share of words in common; see `stale`
# which engine is quicker, and what another page has put into the cache: of the machine
_OF_THE_MACHINE = re.compile(r"^\s*(engine|cached|time|disk|speed)\b.*$", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?|\b[0-9a-f]{12,}\b|\bnan\b")


def key_of(text: str) -> str:
    """The name of a text by its content."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def load(name: str, key: str) -> list[str] | None:
    """The stored outputs of a page or a notebook, if they belong to this key."""
    path = OUTPUTS / f"{name}.json"
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return ["\n".join(lines) for lines in content["outputs"]] if content["of"] == key else None


def save(name: str, key: str, outputs: list[str]) -> None:
    """Store outputs line by line: what changes is seen in a diff."""
    path = OUTPUTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"of": key, "outputs": [output.split("\n") for output in outputs]}
    path.write_text(json.dumps(content, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def is_drawn(outputs: list[str]) -> bool:
    """Whether a page shows pictures that its blocks draw."""
    return any("(/_generated/pictures/" in output for output in outputs)


def words(outputs: list[str]) -> list[str]:
    """What they say, without numbers and what the machine decides; lines may be wrapped elsewhere."""
    text = _NUMBER.sub("#", _OF_THE_MACHINE.sub("", "\n".join(outputs)))
    return re.findall(r"[^\s`$]+", text)


def stale(stored: list[str], fresh: list[str]) -> str:
    """How they differ, where fewer than nine words in ten are the same; else nothing.

    Another machine counts other mistakes and names other images: on two runs of one machine all words are the same.
    """
    before, after = words(stored), words(fresh)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    if matcher.quick_ratio() >= ALIKE:  # words in common, in any order: `ratio` takes minutes for a long page
        return ""
    changed = [
        f"{' '.join(before[a:b])!r} → {' '.join(after[c:d])!r}"
        for kind, a, b, c, d in matcher.get_opcodes()
        if kind != "equal"
    ]
    return f"{matcher.quick_ratio():.0%} of the words are the same; {'; '.join(changed[:8])}"


def main(given: list[str]) -> int:
    """Exit code: 1 if a page fails, or with --check if what is stored is stale."""
    import forked
    import run_blocks
    import run_notebooks

    run_blocks.prepare()
    check, wanted = "--check" in given, {name for name in given if name != "--check"}
    with tempfile.TemporaryDirectory(prefix="headstart-docs-") as working:
        pages = {name: text for name, text in run_blocks.pages().items() if not wanted or name in wanted}
        build = run_blocks.Build(Path(working), anew=True)
        notebooks = [] if check else [path for path in run_notebooks.paths() if not wanted or path.stem in wanted]
        forked.run_all(run_notebooks.stores(notebooks) | build.calls(pages))
        problems = [problem for name, text in pages.items() if (problem := _problem(build, name, text, check))]
    print(*problems, sep="\n")
    print(f"{len(pages)} pages and {len(notebooks)} notebooks run: {len(problems) or 'no'} problems")
    return 1 if problems else 0


def _problem(build: object, name: str, text: str, check: bool) -> str:
    import run_blocks

    assert isinstance(build, run_blocks.Build)
    try:
        fresh = build.outputs(name, text)
    except run_blocks.Failed as failed:
        return f"{failed}"
    if is_drawn(fresh) or not run_blocks.runs(name, text):
        return ""
    key = run_blocks.text_key(text)
    if not check:
        save(name, key, fresh)
        return ""
    if not (OUTPUTS / f"{name}.json").exists():
        return ""  # the build runs it
    before = load(name, key)
    how = "what is stored belongs to other blocks" if before is None else stale(before, fresh)
    return how and f"{name}: {how} (make outputs)"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
