"""Runs the fenced blocks of a page in a folder with drawn hands, and pastes what they print behind them.

`bash` blocks are commands and `python` blocks are code; both run, in the order of the page, in one folder for the page.
Blocks of any other language are listings. What a block needs beside the folder stands in a comment before it:

    <!-- not run: REASON -->     it cannot run here; the site shows the reason
    <!-- background -->          a server: it runs until the page ends
    <!-- exit code 1 -->         the exit code of its last command, where that is not 0
    <!-- file NAME -->           a listing that is written into the folder first
    <!-- first: CODE -->         Python that runs unseen, such as what a notebook has done above
    <!-- picture NAME: TEXT -->  behind a block: a picture that it wrote is shown here

An expression at the end of a Python block is shown, and a matplotlib Figure as a picture. What a page prints is
stored (`stored.py`). Where it is not, the page runs, and its outputs are kept in `_generated/blocks` under a hash of
its blocks and of headstart's source: when one changes, it runs again.
"""

from __future__ import annotations

import ast
import contextlib
import fnmatch
import functools
import hashlib
import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forked
import stored

DOCS = Path(__file__).resolve().parent
KEPT = DOCS / "_generated" / "blocks"
PICTURES = DOCS / "_generated" / "pictures"
COLUMNS = 88
LONGEST = 14  # lines of output that are shown unfolded: a how-to page stays on one screen
RUNS = ("bash", "python")
PICTURE = "<picture>"  # no fence has such a language
SECONDS = 120  # for a server to answer, and for a command of another program
KEPT_OUT = ("_*", "pictures/*.md", "release-checklist.md", "package.md")  # no pages of the site

_COMMENT = r"<!-- *(?P<word>not run|background|exit code|file|first|picture)(?P<rest>.*?)-->"
_FENCE = re.compile(
    rf"{_COMMENT}|^(?P<mark>`{{3,}})(?P<language>[^\n`]*)\n(?P<code>.*?)^(?P=mark)$", re.DOTALL | re.MULTILINE
)
_TIME_OF_DAY = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")


@dataclass
class Block:
    """A fenced block of a page with what its comments ask for, or a picture (its `language` is PICTURE)."""

    language: str
    code: str
    end: int
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether its code is run by the build."""
        return self.language in RUNS and "not run" not in self.notes


def blocks_of(text: str) -> list[Block]:
    """The blocks and pictures of a page in their order."""
    found, notes = [], {}
    for match in _FENCE.finditer(text):
        if (word := match["word"]) == "picture":
            found.append(Block(PICTURE, match["rest"].strip(), match.end()))
        elif word:
            notes[word] = match["rest"].lstrip(": ").rstrip()
        else:
            found.append(Block(match["language"].strip(), match["code"], match.end(), notes))
            notes = {}
    return found


class Failed(Exception):
    """A block did not do what its page says."""


class Page:
    """Runs the blocks of one page inside a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.servers: list[subprocess.Popen[str]] = []

    def outputs(self, blocks: list[Block]) -> list[str]:
        """Markdown to paste behind each block.

        Raises:
            Failed: a block ended with another exit code than its page says, or raised.
        """
        with _inside(self.folder):
            try:
                return [self._output(block, number) for number, block in enumerate(blocks)]
            finally:
                for server in self.servers:
                    server.terminate()
                    server.communicate(timeout=SECONDS)

    def _output(self, block: Block, number: int) -> str:
        if "file" in block.notes:
            path = Path(block.notes["file"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
        if "first" in block.notes:
            self._run(block.notes["first"])
        if block.language == PICTURE:
            path, _, text = block.code.partition(":")
            return self._picture(Path(path), text.strip())
        if block.language in RUNS and not block.runs:
            return f"\n\n*Not run: {block.notes['not run']}.*"
        if block.language == "python":
            return self._python(block, number)
        return self._bash(block) if block.language == "bash" else ""

    def _bash(self, block: Block) -> str:
        if "background" in block.notes:
            return self._serve(block.code)
        printed = []
        lines = [line for line in re.sub(r"\\\n", " ", block.code).splitlines() if line.split("#")[0].strip()]
        for number, line in enumerate(lines):
            code, out = run_line(line)
            expected = int(block.notes.get("exit code", 0)) if number == len(lines) - 1 else 0
            if code != expected:
                raise Failed(f"{self.name}: {line!r} ended with exit code {code}, not {expected}\n{out[-3000:]}")
            command = shlex.join(shlex.split(line, comments=True)) if len(lines) > 1 and "$" not in line else ""
            printed.append(f"$ {command}\n{out.strip()}" if command else out.strip())
        return self._pasted("\n\n".join(text for text in printed if text))

    def _serve(self, code: str) -> str:
        line = shlex.split(code.strip(), comments=True)
        server = subprocess.Popen(
            [sys.executable, "-m", *line], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.servers.append(server)
        assert server.stdout is not None
        said = ""
        while "http://" not in said:
            more = server.stdout.readline()
            if not more:
                raise Failed(f"{self.name}: {code.strip()!r} ended\n{said}")
            said += more
        time.sleep(0.2)
        return self._pasted(re.sub(r"token=\S+", "token=…", said.strip()))

    def _run(self, code: str) -> Any:
        """Run code in the names of the page; the value of its last line, if that is an expression."""
        tree = ast.parse(code)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        try:
            exec(compile(tree, self.name, "exec"), self.names)
            return eval(compile(ast.Expression(last.value), self.name, "eval"), self.names) if last else None
        except Exception as error:
            raise Failed(f"{self.name}: {type(error).__name__}: {error}\n{code}") from error

    def _python(self, block: Block, number: int) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            value = self._run(block.code)
        if hasattr(value, "savefig"):
            path = Path(f"figure-{number}.png")
            value.savefig(path, dpi=100, bbox_inches="tight")
            return self._pasted(out.getvalue().strip()) + self._picture(path, "The figure that this code draws")
        if value is not None:
            out.write(f"{value}\n")
        return self._pasted(out.getvalue().strip())

    def _picture(self, path: Path, text: str) -> str:
        target = PICTURES / f"{self.name.replace('/', '-')}-{'-'.join(path.with_suffix('').parts)}.webp"
        PICTURES.mkdir(parents=True, exist_ok=True)
        save_picture(path.read_bytes(), target)
        return f"\n\n![{text}](/_generated/pictures/{target.name})"

    def _pasted(self, text: str) -> str:
        text = text.replace(f"{self.folder.resolve()}{os.sep}", "").replace(str(self.folder.resolve()), ".")
        text = text.replace(str(self.folder.resolve().parent / "cache"), "~/.cache/headstart")
        text = _TIME_OF_DAY.sub("YYYY-MM-DDThh:mm:ss+00:00", "\n".join(line.rstrip() for line in text.splitlines()))
        if not text:
            return ""
        block = f"````text\n{text}\n````"
        if text.count("\n") < LONGEST:
            return f"\n\n{block}"
        return f"\n\n<details><summary>Output</summary>\n\n{block}\n\n</details>"


def save_picture(data: bytes, target: Path) -> None:
    """Write a picture of at most 1,200 px."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
    ground.thumbnail((1200, 1200))
    ground.save(target, quality=80)  # WebP: half of a PNG's size


def run_line(line: str) -> tuple[int, str]:
    """Exit code and output of a command: one of headstart in this process, others by bash."""
    if not line.startswith("headstart ") or re.search(r"[|><$;]", line.split(" #")[0]):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=SECONDS)
        return done.returncode, done.stdout + (done.stderr if done.returncode else "")
    from headstart.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(shlex.split(line, comments=True)[1:])
        except SystemExit as left:
            code = int(left.code or 0)
    return code, out.getvalue() + (err.getvalue() if code else "")


@contextlib.contextmanager
def working_folder(folder: Path) -> Iterator[None]:
    """The working folder of this process meanwhile."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """The working folder and the variables of a page; both are put back, and so is what a page registers."""
    from headstart.backbones.catalogue import REGISTERED
    from headstart.best_practices.rule import RULES
    from headstart.data.audit.check import CHECKS
    from headstart.inspection.catalogue import ANALYSES
    from headstart.registry import ENGINES, HEADS
    from headstart.workbench import write_run

    registered = [(registry, set(registry)) for registry in (REGISTERED, RULES, CHECKS, ANALYSES, ENGINES, HEADS)]
    environment = dict(os.environ)
    inspect = write_run._inspect
    write_run._inspect = functools.partial(_inspected_once, inspect=inspect)
    os.environ |= {"COLUMNS": str(COLUMNS), "HEADSTART_CACHE": str(folder.parent / "cache"), "MPLBACKEND": "agg"}
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        with working_folder(folder):
            yield
    finally:
        write_run._inspect = inspect
        os.environ.clear()
        os.environ.update(environment)
        for registry, names in registered:
            for name in set(registry) - names:
                registry.remove(name)


def _inspected_once(session: Any, path: Path, classifier: Any, *, result: Any, inspect: Any) -> dict[str, str]:
    """inside.html of a network, drawn for the first run that has it: it takes seconds, and no page shows it.

    Pages run in processes of their own: the drawn file lies in the cache that they share.
    """
    name = re.sub(r"\W", "_", classifier.backbone.spec.name)
    kept = Path(os.environ["HEADSTART_CACHE"]) / f"inside-{name}.json"
    if kept.exists():
        page, sentences = json.loads(kept.read_text(encoding="utf-8"))
        path.write_text(page, encoding="utf-8")
        return dict(sentences)
    found: dict[str, str] = inspect(session, path, classifier, result=result)
    if path.exists():
        written = kept.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps([path.read_text(encoding="utf-8"), found]), encoding="utf-8")
        written.replace(kept)
    return found


def prepare() -> None:
    """Ready this process to fork pages: what they import, and one thread for each."""
    import torch

    os.environ.pop("HEADSTART_TEST_DATA", None)  # the site is the same with and without the photographs of the tests
    torch.set_num_threads(1)  # a forked process cannot use the threads of its parent, and there is one for each core
    # imported once, before the pages are forked: each of these takes a third of a second and more
    for module in ("timm", "onnxscript", "onnxruntime", "torch.onnx", "networkx", "torch.utils.tensorboard", "sklearn"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


def make_folder(folder: Path, *, inside: bool = True) -> None:
    """What a reader of the pages has: labelled photos, a run on them, and images that are new.

    Args:
        inside: with the run's inside.html, which takes a third of the time. Pages that are stored list it; those that
            draw pictures, which a build runs, do not.
    """
    import numpy as np
    from PIL import Image, ImageEnhance

    import headstart as hs

    folder.mkdir(parents=True, exist_ok=True)
    for number, kind in enumerate(hs.HAND_CLASSES):
        for at, count in (("photos", 20), ("new_camera", 6), ("new_images", 3), ("unlabelled", 5)):
            labelled = at in ("photos", "new_camera")
            place = folder / at / (kind if labelled else "")
            place.mkdir(parents=True, exist_ok=True)
            for one in range(count):
                seed = 10_000 * (len(at) + number) + 97 * one
                hand = hs.draw_hand(kind, seed=seed, size=112)
                if at == "new_camera":
                    hand = ImageEnhance.Brightness(ImageEnhance.Color(hand).enhance(0.4)).enhance(0.6)
                hand.save(place / f"{one + 1 if labelled else f'{kind[0]}{one + 1}'}.png")
    rng = np.random.default_rng(0)
    (folder / "well").mkdir()
    for one in range(15):  # a fourth sign: rings
        y, x = np.mgrid[:112, :112] - rng.uniform(45, 65, 2)[:, None, None]
        ring = abs(np.hypot(x, y) - rng.uniform(20, 32)) < rng.uniform(5, 9)
        pixels = np.where(ring[..., None], rng.uniform(120, 230, 3), rng.uniform(0, 90, 3)) + rng.normal(
            0, 8, (112, 112, 3)
        )
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "well" / f"{one + 1}.png")
    with _inside(folder):
        hs.train("photos", backbone="embedded", inside=inside, on_event=None)


@functools.cache
def source_hash() -> str:
    """Of everything that decides what a block prints."""
    import headstart

    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(Path(headstart.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def text_key(text: str) -> str:
    """The key of a page's blocks, whatever headstart's source is."""
    return stored.key_of(json.dumps([(block.language, block.code, block.notes) for block in blocks_of(text)]))


def pages() -> dict[str, str]:
    """The pages of the site that are written by hand: name → text."""
    names = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md"))]
    names = [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in KEPT_OUT)]
    return {name.removesuffix(".md"): (DOCS / name).read_text(encoding="utf-8") for name in names}


def run_page(name: str, text: str, material: Path, working: Path) -> list[str]:
    """Outputs of the blocks of a page; they run on a copy of `material`, beside the cache that pages share.

    Raises:
        Failed: a block did not do what its page says.
    """
    folder = working / "here"  # where the material was made: a run knows the paths of its images
    shutil.copytree(material, folder, symlinks=True)
    try:
        return Page(name, folder).outputs(blocks_of(text))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Build:
    """The outputs of all pages of a site, kept by content between builds; `anew` without those that are stored."""

    def __init__(self, working: Path, anew: bool = False) -> None:
        self.working = working
        self.anew = anew

    def calls(self, pages: Mapping[str, str]) -> dict[str, forked.Call]:
        """A call for each page whose blocks are to be run; the first at a place makes there what a reader has."""
        wanted = [(name, text) for name, text in pages.items() if runs(name, text) and not _kept(text).exists()]
        wanted = [(name, text) for name, text in wanted if self._stored(name, text) is None]
        return {name: functools.partial(self._run, name, text) for name, text in wanted}

    def _make_material(self, place: int) -> Path:
        """The folder that pages at this place begin with; a run knows the paths of its images, hence one for each."""
        at = self.working / str(place)
        if not (at / "material").exists():
            at.mkdir(parents=True, exist_ok=True)
            (self.working / "cache").mkdir(exist_ok=True)
            if not (at / "cache").exists():
                (at / "cache").symlink_to(self.working / "cache")
            make_folder(at / "here", inside=self.anew)
            (at / "here").rename(at / "material")
        return at / "material"

    def _run(self, name: str, text: str, place: int) -> None:
        began, kept = time.monotonic(), _kept(text)
        KEPT.mkdir(parents=True, exist_ok=True)
        failed = kept.with_suffix(".failed")
        failed.unlink(missing_ok=True)
        try:
            outputs = run_page(name, text, self._make_material(place), self.working / str(place))
        except Failed as error:
            failed.write_text(str(error), encoding="utf-8")
            return
        kept.write_text(json.dumps(outputs), encoding="utf-8")
        spent = time.process_time()
        print(f"{name}: blocks run in {time.monotonic() - began:.1f} s, {spent:.1f} CPU-s", file=sys.stderr)

    def _stored(self, name: str, text: str) -> list[str] | None:
        return None if self.anew else stored.load(name, text_key(text))

    def outputs(self, name: str, text: str) -> list[str]:
        """What the blocks of a page print; they run now, if they did not.

        Raises:
            Failed: a block did not do what its page says.
        """
        if not runs(name, text):
            return []
        if (outputs := self._stored(name, text)) is not None:
            return outputs
        kept = _kept(text)
        failed = kept.with_suffix(".failed")
        if not kept.exists() and not failed.exists():
            self._run(name, text, 0)
        if failed.exists():
            said = failed.read_text(encoding="utf-8")
            failed.unlink()
            raise Failed(said)
        return list(json.loads(kept.read_text(encoding="utf-8")))

    def page(self, name: str, text: str) -> str:
        """The page with what its blocks print behind each.

        Raises:
            Failed: a block did not do what its page says.
        """
        pasted, start = [], 0
        for block, output in zip(
            blocks_of(text), self.outputs(name, text), strict=False
        ):  # none of a page without code
            pasted += [text[start : block.end], output]
            start = block.end
        return "".join([*pasted, text[start:]])


def runs(name: str, text: str) -> bool:
    """Whether a page has blocks that are run."""
    return not name.startswith("_generated/") and any(block.language in RUNS for block in blocks_of(text))


def _kept(text: str) -> Path:
    return KEPT / f"{stored.key_of(source_hash() + text_key(text))}.json"


if __name__ == "__main__":  # python docs/run_blocks.py PAGE.md …: runs pages, and prints them with their outputs
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        build = Build(Path(place))
        for given in sys.argv[1:]:
            page = Path(given).resolve()
            try:
                print(build.page(page.relative_to(DOCS).with_suffix("").as_posix(), page.read_text(encoding="utf-8")))
            except Failed as failed:
                print(f"FAILED {failed}")
