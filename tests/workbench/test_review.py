"""review: suspects of a run, decisions by name, undo, what-if, the page."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.progress import Event, Notice


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "photos"))


def test_suspects_are_the_images_that_another_class_wins_and_have_neighbours_of_both(copied: Path) -> None:
    found = hs.review(copied, on_event=None)
    by_name = {row["path"]: row for row in found.run.predictions()}
    assert len(found.suspects) == sum(found.count(split) for split in ("train", "validation", "test"))
    for one in found.suspects:
        assert one.margin > 0
        assert one.label == by_name[one.image]["label"] != one.suggested
        assert one.path is not None
        assert one.path.is_file()
        assert list(one.neighbours) == [one.label, one.suggested]
        for label, names in one.neighbours.items():
            assert one.image not in names
            assert {by_name[name]["label"] for name in names} == {label}
            assert {by_name[name]["split"] for name in names} == {"train"}
    assert found.expected >= 0
    assert json.dumps(found.to_dict())


def test_decisions_are_kept_in_the_run_and_undone(copied: Path) -> None:
    found = hs.review(copied, on_event=None)
    name = found.rows.names[0]
    label = found.run.predictions()[0]["label"]
    other = next(one for one in found.classes if one != label)
    found.decide(name, "relabel", other)
    found.decide(Path(found.run.record["source"]) / found.rows.names[1], "drop")
    again = hs.review(copied, on_event=None)
    assert [one.action for one in again.decisions.standing] == ["relabel", "drop"]
    assert again.decisions.by_content[found.rows.contents[0]].label == other
    assert again.undo() == again.decisions.standing[-1] or len(again.decisions) == 1
    assert again.file == copied / "review.jsonl"


def test_what_if_with_a_decision_taken_back_is_bit_equal(copied: Path) -> None:
    found = hs.review(copied, on_event=None)
    name = found.rows.names[int(found.rows.indices("train")[0])]
    before = found.what_if()
    found.decide(name, "drop")
    dropped = found.what_if()
    found.undo()
    after = found.what_if()
    assert (dropped.dropped, after.dropped) == (1, 0)
    assert not np.array_equal(dropped.weight, before.weight)
    assert np.array_equal(after.weight, before.weight)
    assert np.array_equal(after.bias, before.bias)
    asked = found.what_if(drop=[name])
    assert np.array_equal(asked.weight, dropped.weight)


def test_mistakes_are_named(copied: Path) -> None:
    found = hs.review(copied, on_event=None)
    name, label = found.rows.names[0], found.run.predictions()[0]["label"]
    for wrong, words in (
        (lambda: found.decide("nothing.png", "drop"), "an image of the run"),
        (lambda: found.decide(name, "burn"), "an action"),
        (lambda: found.decide(name, "relabel", "gulls"), "a class of the run"),
        (lambda: found.decide(name, "relabel", label), "another class than its label"),
        (lambda: found.decide(name, "drop", label), "no class with drop"),
        (lambda: found.what_if(relabel={name: "gulls"}), "a class of the run"),
        (lambda: hs.review(copied, most=0, on_event=None), "at least one suspect"),
    ):
        with pytest.raises(hs.HeadstartError, match=words):
            wrong()
    assert not found.file.exists()
    every = [found.rows.names[i] for i in found.rows.indices("train") if found.rows.labels[i] == 0]
    with pytest.raises(hs.DataError, match="every class"):
        found.what_if(drop=every)


def test_signs_of_equality_in_names_are_theirs(copied: Path) -> None:
    found = hs.review(copied, on_event=None)
    name = found.rows.names[0]
    found.rows = replace(
        found.rows, names=(f"a={name}", *found.rows.names[1:]), classes=("=1", "x=y", *found.rows.classes[2:])
    )

    for label in ("=1", "x=y"):
        image, _, rest = f"a={name}={label}".rpartition("=")  # as the command line cuts it
        assert found.pair(image, rest) == (f"a={name}", label)
    assert found.pair("a=b", "unknown") == ("a=b", "unknown")


def test_the_verb_decides_undoes_and_writes_the_page(copied: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    names = hs.review(copied, on_event=None).rows.names
    hs.review(copied, drop=[names[0]], keep=[names[1]], out=tmp_path / "page.html", on_event=events.append)
    hs.review(copied, undo=True, on_event=events.append)
    said = [event.text for event in events if isinstance(event, Notice)]
    assert said[0] == f"Noted: {names[0]}: dropped"
    assert said[2].startswith("2 decisions in ")
    assert said[3].startswith(f"Taken back: {names[1]}")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "2 decisions" in text
    assert "--review" in text


def test_an_unfinished_last_line_is_reported(copied: Path) -> None:
    events: list[Event] = []
    (copied / "review.jsonl").write_bytes(b'{"sha256": "ab')
    hs.review(copied, on_event=events.append)
    assert any("not saved" in event.text for event in events if isinstance(event, Notice))


@pytest.mark.slow
def test_training_with_decisions_equals_training_on_corrected_folders(
    run_folder: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    old = hs.Run.load(run_folder)
    table, lines = tmp_path / "photos.csv", ["path,label,split"]
    for row in old.predictions():
        lines.append(f"{photos / row['path']},{row['label']},{row['split']}")
    table.write_text("\n".join(lines), "utf-8")
    options = {"backbone": "embedded", "inside": False, "on_event": None}
    first = hs.train(table, out=tmp_path / "first", **options)
    review = hs.review(first, on_event=None)
    train = [review.rows.names[i] for i in review.rows.indices("train")]
    test = [review.rows.names[i] for i in review.rows.indices("test")]
    wrong = next(name for name in train if "/disc/" in name or name.startswith("disc"))
    review.decide(wrong, "relabel", "square")
    review.decide(train[-1], "drop")
    review.decide(test[0], "drop")

    events: list[Event] = []
    decided = hs.train(
        table, out=tmp_path / "decided", review=str(first.folder), **{**options, "on_event": events.append}
    )
    corrected = [
        line.replace(",disc,", ",square,") if wrong in line else line for line in lines if train[-1] not in line
    ]
    table.write_text("\n".join(corrected), "utf-8")
    by_hand = hs.train(table, out=tmp_path / "by_hand", **options)

    assert np.array_equal(decided.classifier.head.weight, by_hand.classifier.head.weight)
    assert decided.evaluation.accuracy == by_hand.evaluation.accuracy
    assert decided.record["review"]["relabelled"] == decided.record["review"]["dropped"] == 1
    score = decided.record["review"]["score"]
    assert score["dropped"] == 1
    assert score["reported"]["value"] == decided.evaluation.accuracy.value
    said = " ".join(event.text for event in events if isinstance(event, Notice))
    assert "2 decisions of your review applied" in said
    assert "changes no reported number" in said
    assert "the accuracy would be" in (decided.folder / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_evaluate_shows_both_scores_and_audit_uses_the_decided_labels(copied: Path, photos: Path) -> None:
    found = hs.review(copied, on_event=None)
    names = [found.rows.names[i] for i in found.rows.indices("test")]
    plain = hs.evaluate(copied, photos, on_event=None)
    found.decide(names[0], "drop")
    both = hs.evaluate(copied, photos, on_event=None)
    assert plain.reviewed is None
    assert both.reviewed is not None
    assert both.evaluation.accuracy == plain.evaluation.accuracy
    assert both.reviewed.reviewed.n == plain.evaluation.accuracy.n - 1
    assert any("as reported" in note for note in both.notes)
    audit = hs.audit(photos, review=str(copied), on_event=None)
    assert audit.images == len(found.rows) - 1
