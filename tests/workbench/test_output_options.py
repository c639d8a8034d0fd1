"""Every verb that writes where the user says refuses an impossible path first, whatever else is wrong with the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headstart as hs
from headstart.errors import HeadstartError
from headstart.workbench.demo import demo
from headstart.workbench.pretrain import pretrain

_OPTIONS = {"out", "csv", "figure", "sort_into", "folder"}
_CALLS: dict[tuple[str, str], Callable[[Any], object]] = {
    ("train", "out"): lambda path: hs.train("no-photos", out=path),
    ("continue_run", "out"): lambda path: hs.continue_run("no-run", out=path),
    ("predict", "csv"): lambda path: hs.predict("no-classifier", "no-photos", csv=path),
    ("predict", "out"): lambda path: hs.predict("no-classifier", "no-photos", out=path, format="csv"),
    ("predict", "sort_into"): lambda path: hs.predict("no-classifier", "no-photos", sort_into=path),
    ("embed", "out"): lambda path: hs.embed("no-photos", out=f"{path}.parquet"),
    ("inspect", "out"): lambda path: hs.inspect("filters", "no-model", "no-photos", out=path),
    ("inspect", "figure"): lambda path: hs.inspect("filters", "no-model", "no-photos", figure=f"{path}.png"),
    ("explain", "out"): lambda path: hs.explain("no-classifier", "no-photos", out=path),
    ("export", "out"): lambda path: hs.export("no-classifier", out=path),
    ("recalibrate", "out"): lambda path: hs.recalibrate("no-classifier", "no-photos", out=path),
    ("show", "out"): lambda path: hs.show("no-photos", out=path),
    ("fetch", "out"): lambda path: hs.fetch("https://example.org/photos.zip", out=path),
    ("pretrain", "out"): lambda path: pretrain("no-recipe", out=path),
    ("review", "out"): lambda path: hs.review("no-run", out=path),
    ("advise", "out"): lambda path: hs.advise("no-photos", out=path),
    ("advise_augment", "figure"): lambda path: hs.advise_augment("no-photos", figure=f"{path}.png"),
    ("pull", "out"): lambda path: hs.pull("no-address", out=path),
    ("card", "out"): lambda path: hs.card("no-run", out=path),
    ("forget", "out"): lambda path: hs.forget("no-run", "no-image", out=path),
    ("add_class", "out"): lambda path: hs.add_class("no-run", "no-photos", out=path),
    ("demo", "folder"): lambda path: demo(path),
}


@pytest.mark.parametrize(("verb", "option"), _CALLS)
@pytest.mark.parametrize("name", ["a\0b", "n" * 300])
def test_an_impossible_path_is_refused_first(verb: str, option: str, name: str) -> None:
    with pytest.raises(HeadstartError, match=r"NUL character|too long"):
        _CALLS[verb, option](name)


def test_an_onnx_file_is_no_exception(tmp_path: Path) -> None:
    for option in ({"csv": "a\0b"}, {"sort_into": "a\0b"}):
        with pytest.raises(HeadstartError, match="NUL character"):
            hs.predict(tmp_path / "no.onnx", "no-photos", **option)  # type: ignore[arg-type]


def test_every_verb_that_writes_is_here() -> None:
    found = set()
    verbs = [getattr(hs, name) for name in hs.__all__]
    for verb in (*verbs, demo, pretrain):
        if inspect.isfunction(verb) and verb.__module__.startswith("headstart.workbench"):
            found |= {(verb.__name__, option) for option in inspect.signature(verb).parameters if option in _OPTIONS}

    assert found == set(_CALLS)
