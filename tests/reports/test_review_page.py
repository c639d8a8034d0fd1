"""The page of a review: names from outside are escaped, commands are there, splits are apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from headstart.reports.review_page import ReviewPage, SuspectOnPage, write_review

SUSPECT = SuspectOnPage(
    image="train/a<b>/1.png",
    label="a<b>",
    suggested="c",
    margin=1.25,
    split="train",
    decision="",
    like_label=("train/a<b>/2.png",),
    like_suggested=(),
    commands=("headstart review run --drop 'train/a<b>/1.png'",),
)
PAGE = ReviewPage(
    title="photos",
    run="runs/photos",
    expected=3.4,
    training=40,
    counts={"train": 9, "test": 0},
    decisions=(),
    suspects=(SUSPECT,),
    apply="headstart train photos --review runs/photos",
    notes=("A note.",),
)


def test_the_page_shows_suspects_neighbours_and_commands(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), "teal").save(tmp_path / "1.png")
    write_review(tmp_path / "page.html", PAGE, {"train/a<b>/1.png": tmp_path / "1.png"})
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "wrong labels among 40 training images: 3" in text
    assert "a&lt;b&gt;" in text
    assert "a<b>" not in text
    assert text.count("data:image/") == 1
    assert "9 suspects; the 1 with the largest margins" in text
    assert "change no reported number" in text
    assert "Nothing is decided yet." in text
    assert "<script" not in text


def test_decisions_are_listed(tmp_path: Path) -> None:
    decided = replace(SUSPECT, decision="x → y")
    write_review(tmp_path / "page.html", replace(PAGE, suspects=(decided,), decisions=("x → y",)), {})
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.count("x → y") == 2
    assert "1 decision<" in text
