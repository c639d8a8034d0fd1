"""The report: whole or not at all, self-contained, with the numbers of the Evaluation and names that stay names."""

from __future__ import annotations

import dataclasses
import functools
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from headstart.data.finding import Finding
from headstart.errors import RunError
from headstart.evaluation.evaluate import BaselinePredictions, EvaluatedImages, evaluate_probabilities
from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import wilson
from headstart.heads.linear_probe import LayerScore
from headstart.reports.gallery import MAX_IMAGES
from headstart.reports.report import MAX_MISTAKES, ReportContents, write_report

HOSTILE = '<script>alert("x")</script>\u202egpj.\x07&'
ESCAPED = '<script>alert("x")</script>\\u202egpj.\\x07&'  # as a person reads it


class Page(HTMLParser):
    """A report as a reader has it: tags with attributes, table rows, and all visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(self.source)
        self.close()
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("b", "bdi", "code", "a") and ("class", "nowrap") not in attrs:
            self.words.append(" ")
        if tag not in ("meta", "img", "path", "use", "rect"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data.replace("\xa0", " ").strip("\n")

    def row(self, first: str) -> list[str]:
        (found,) = [row for row in self.rows if row and row[0] == first]
        return [cell.strip() for cell in found]

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


@functools.cache
def an_evaluation(classes: tuple[str, ...] = ("ant", "bee", "cat"), n: int = 60, gap: float = 1.5) -> Evaluation:
    rng = np.random.default_rng(1)
    y = rng.integers(0, len(classes), n)
    logits = np.exp(rng.normal(size=(n, len(classes))) + gap * np.eye(len(classes))[y])
    p = logits / logits.sum(axis=1, keepdims=True)
    return evaluate_probabilities(
        p,
        EvaluatedImages(
            labels=y, classes=classes, names=[f"test/{i:03}.png" for i in range(n)], leaked=np.arange(n) < 2
        ),
        train_counts=[30] * len(classes),
        baselines={"kNN": BaselinePredictions(np.roll(y, 3))},
    )


def some_contents(folder: Path, evaluation: Evaluation | None = None, **changes: object) -> ReportContents:
    paths = {f"test/{i:03}.png": folder / f"{i:03}.png" for i in range(60)}
    for i, path in enumerate(paths.values()):
        Image.new("RGB", (200, 120), (4 * i, 90, 200)).save(path)
    contents = ReportContents(
        title="three animals",
        evaluation=evaluation or an_evaluation(),
        findings=(),
        source="animals/",
        images=150,
        protocol="Using your train/test split.",
        counts={"train": {"ant": 30, "bee": 30, "cat": 30}, "test": {"ant": 20, "bee": 1500, "cat": 20}},
        plan={"backbone": "resnet18", "licence": "BSD-3-Clause"},
        choices=(
            LayerScore(
                layers="last-two", stages=("stage3", "stage4"), width=768, accuracy=wilson(233, 244), lambda_=0.1
            ),
            LayerScore(layers="pooled", stages=("stage4",), width=512, accuracy=wilson(230, 244), lambda_=0.01),
        ),
        held_out="one group at a time",
        recipe={"seed": 7, "offline": False, "weights": None},
        defaults={"seed": 0, "offline": False, "weights": None},
        versions={"headstart": "0.1.0", "torch": "2.9"},
        timings={"features": 61.2, "head": 0.25},
        paths=paths,
        command="headstart predict runs/animals/classifier.safetensors new/",
    )
    return dataclasses.replace(contents, **changes)


@functools.cache
def the_usual_page() -> Page:
    """The page without changes, written once: the tests only read it."""
    with tempfile.TemporaryDirectory() as folder:
        return Page(write_report(Path(folder) / "report.html", some_contents(Path(folder))))


def a_page(folder: Path, evaluation: Evaluation | None = None, **changes: object) -> Page:
    if not changes and evaluation in (None, an_evaluation()):
        return the_usual_page()
    return Page(write_report(folder / "report.html", some_contents(folder, evaluation, **changes)))


def percent(share: float) -> str:
    return f"{share * 100:.1f} %"


@pytest.mark.slow
def test_the_headline_is_one_sentence_with_the_numbers_of_the_evaluation(tmp_path: Path) -> None:
    e = an_evaluation()
    correct = sum(e.confusion[i][i] for i in range(3))

    text = a_page(tmp_path, e).text.replace("\xa0", " ")

    assert f"{correct} of 60 test images correct: {percent(e.accuracy.value)}" in text
    assert f"(95 % interval {e.accuracy.low * 100:.1f} – {e.accuracy.high * 100:.1f})" in text
    assert correct == round(e.accuracy.value * 60)


@pytest.mark.slow
def test_every_baseline_is_in_the_table_with_its_interval_and_chance_is_computed(tmp_path: Path) -> None:
    e = an_evaluation()
    page = a_page(tmp_path, e)

    for one in e.baselines:
        cells = next(row for row in page.rows if row and row[0].startswith(one.name))
        assert cells[1] == percent(one.accuracy.value)
        assert cells[2] == f"{one.accuracy.low * 100:.1f} – {one.accuracy.high * 100:.1f}"
    assert next(row for row in page.rows if row[0].startswith("chance"))[1] == "33.3 %"


@pytest.mark.slow
def test_with_groups_the_classifier_and_the_baselines_have_intervals_of_one_kind(tmp_path: Path) -> None:
    e = an_evaluation()
    over = dataclasses.replace(e.accuracy, low=0.0123, high=0.9876)
    page = a_page(tmp_path, dataclasses.replace(e, accuracy_over_groups=over))
    cells = next(row for row in page.rows if row and row[0] == "this classifier")
    assert cells[1:3] == [percent(e.accuracy.value), "1.2 – 98.8"]


def test_the_table_of_classes_has_the_numbers_of_the_evaluation(tmp_path: Path) -> None:
    e = an_evaluation()
    page = a_page(tmp_path, e)

    for score in e.per_class:
        (row,) = [row for row in page.rows if row[0] == score.name and len(row) == 7]
        expected = [str(score.support), percent(score.recall.value)]
        expected += [f"{score.recall.low * 100:.1f} – {score.recall.high * 100:.1f}"]
        assert [cell.strip() for cell in row[1:4]] == expected
        assert [row[5], row[6]] == [percent(score.precision or 0), percent(score.f1 or 0)]


def test_averages_worst_class_calibration_and_leaks_are_there(tmp_path: Path) -> None:
    e = an_evaluation()
    assert e.without_leaks is not None
    text = a_page(tmp_path, e).text.replace("\xa0", " ")

    assert percent(e.balanced_accuracy.value) in text
    assert f"{e.worst_class.name} {percent(e.worst_class.recall.value)}" in text
    assert (
        f"a perfectly calibrated model would show {percent(e.calibration.noise_floor.mean)} on a test set of this size"
        in text
    )
    assert (
        f"2 test images are also in the training set. Accuracy without them: {percent(e.without_leaks.value)}" in text
    )


def test_the_reliability_diagram_stands_there_as_a_table_too(tmp_path: Path) -> None:
    e = an_evaluation()
    page = a_page(tmp_path, e)

    for one in e.calibration.bins:
        row = page.row(percent(one.low))
        assert row[1:5] == [percent(one.high), str(one.count), percent(one.confidence), percent(one.accuracy.value)]


def test_counts_choices_recipe_times_versions_and_the_next_command_are_there(tmp_path: Path) -> None:
    page = a_page(tmp_path)

    assert ["total", "90", "1,540"] in page.rows
    assert page.row("last-two (used)")[1:5] == ["stage3, stage4", "768", "0.1", "95.5 % 92.1 – 97.5"]
    assert page.row("pooled")[4] == "94.3 % 90.6 – 96.6"
    assert page.row("features") == ["features", "1 min 1 s", ""]
    assert ["total", "1 min 1 s", ""] in page.rows
    assert page.row("torch") == ["torch", "2.9"]
    assert page.row("licence") == ["licence", "BSD-3-Clause"]
    assert "headstart predict runs/animals/classifier.safetensors new/" in page.text


def test_only_options_that_differ_from_their_default_are_emphasised(tmp_path: Path) -> None:
    page = a_page(tmp_path)

    assert page.row("--seed")[1] == "7 default: 0"
    assert page.row("--offline")[1] == "no"
    assert page.row("--weights")[1] == "none"
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "tr"].count("changed") == 1


def test_the_file_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    page = a_page(tmp_path)

    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "srcset", "poster", "data", "background"):
                assert (value or "").startswith("data:image/")
            if name in ("href", "xlink:href"):
                assert (value or "").startswith("#") or (tag == "a" and (value or "").startswith("https://"))
            if name == "style":
                assert "url(" not in (value or "")
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'; img-src data:" in page.source


def test_every_image_and_figure_has_a_description(tmp_path: Path) -> None:
    page = a_page(tmp_path)

    assert page.images()
    assert all("alt" in attributes for attributes in page.images())  # empty where the caption is the description
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(figures) == 2
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in figures)


@pytest.mark.slow
def test_names_from_outside_stay_names_wherever_they_stand(tmp_path: Path) -> None:
    e = an_evaluation((HOSTILE, "bee", "cat"))
    mistakes = (dataclasses.replace(e.mistakes[0], name=HOSTILE), *e.mistakes[1:])
    e = dataclasses.replace(e, unknown={HOSTILE: 2}, mistakes=mistakes)
    finding = Finding(
        HOSTILE, "problem", HOSTILE, (HOSTILE,), ((HOSTILE, "test/001.png"),), {"reasons": {HOSTILE: HOSTILE}}
    )
    page = a_page(
        tmp_path,
        e,
        title=HOSTILE,
        findings=(finding, dataclasses.replace(finding, groups=(), detail={}, message="")),
        source=HOSTILE,
        protocol=HOSTILE,
        counts={HOSTILE: {HOSTILE: 1}},
        plan={HOSTILE: HOSTILE},
        held_out=HOSTILE,
        recipe={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        timings={HOSTILE: 1.0},
        command=HOSTILE,
    )

    assert page.text.count(ESCAPED) >= 24
    assert "script" not in {tag for tag, _ in page.tags}
    assert "\u202e" not in page.source
    assert "\x07" not in page.source
    assert f"{ESCAPED} predicted as" in "".join(one["aria-label"] or "" for tag, one in page.tags if tag == "svg")


@pytest.mark.slow
def test_a_name_that_is_no_text_does_not_stop_the_report(tmp_path: Path) -> None:
    page = a_page(tmp_path, findings=(Finding("skipped", "note", "One.", ("caf\udce9.txt",)),))

    assert "caf\\udce9.txt" in page.text


def test_mistakes_are_shown_with_image_prediction_label_and_probability(tmp_path: Path) -> None:
    e = an_evaluation()
    first = e.mistakes[0]
    page = a_page(tmp_path, e)

    said = f"predicted {first.predicted} {percent(first.probability)} label {first.true} {first.name}"
    assert said in page.text.replace("\xa0", " ")
    assert page.images()[0]["alt"] == f"{first.name}, true class {first.true}, predicted as {first.predicted}"
    assert (page.images()[0]["src"] or "").startswith("data:image/jpeg;base64,")
    assert (page.images()[0]["width"], page.images()[0]["height"]) == ("160", "96")


@pytest.mark.slow
def test_an_image_that_is_gone_or_broken_becomes_its_name_and_reason(tmp_path: Path) -> None:
    contents = some_contents(tmp_path)
    gone, broken = contents.evaluation.mistakes[0].name, contents.evaluation.mistakes[1].name
    contents.paths[gone].unlink()
    contents.paths[broken].write_bytes(b"")

    page = Page(write_report(tmp_path / "report.html", contents))

    assert "not shown: cannot be read: No such file or directory" in page.text
    assert "not shown: the file is empty (0 bytes)" in page.text
    assert gone in page.text
    assert len(page.images()) == min(MAX_MISTAKES, len(contents.evaluation.mistakes)) - 2


@pytest.mark.slow
def test_findings_come_worst_first_with_their_groups_side_by_side(tmp_path: Path) -> None:
    findings = (
        Finding("unusual-size", "note", "One is small.", ("test/004.png",)),
        Finding("leak", "problem", "Two are twice there.", groups=(("test/000.png", "test/001.png"),)),
    )

    page = a_page(tmp_path, findings=findings)

    assert page.text.index("Problem: leak") < page.text.index("Note: unusual size")
    captions = re.findall(r'<img [^>]*alt="">\s*</span>\s*<bdi class="file">(.*?)</bdi>', page.source)
    assert captions[-3:] == ["test/000.png", "test/001.png", "test/004.png"]
    assert "1 problem in the data may affect these numbers" in page.text


@pytest.mark.slow
def test_unreadable_files_are_listed_with_their_reason_and_the_rest_is_counted(tmp_path: Path) -> None:
    reasons = {f"train/{i}.jpg": "the file is empty (0 bytes)" for i in range(45)}
    finding = Finding("unreadable", "warning", "Cannot be read.", detail={"count": 50, "reasons": reasons})

    page = a_page(tmp_path, findings=(finding,))

    assert page.text.count("the file is empty (0 bytes)") == 40
    assert "and 10 more files, not listed here" in page.text


@pytest.mark.slow
def test_images_are_limited_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    names = tuple(f"test/{i:03}.png" for i in range(60))
    groups = tuple(names[i : i + 6] for i in range(0, 60, 6))
    findings = tuple(Finding("near-duplicates", "warning", f"Look {i}.", groups=groups) for i in range(4))

    page = a_page(tmp_path, findings=(*findings, Finding("unusual-size", "note", "Small.", names)))

    assert len(page.images()) == MAX_IMAGES
    assert page.text.count("and 4 more groups, not shown here") == 4
    assert "and 2 more, not shown here" in page.text  # four of the six of one group are shown
    assert "and 58 more, not shown here" in page.text  # the gallery is full: two names alone


@pytest.mark.slow
def test_files_without_an_image_are_named_unless_the_sentence_names_them(tmp_path: Path) -> None:
    finding = Finding("skipped", "note", "5 (a.txt, b.txt, …): skipped.", ("a.txt", "b.txt", "c.txt"), (), {"count": 5})

    page = a_page(tmp_path, findings=(finding,))

    assert page.text.count("a.txt") == 1
    assert page.text.count("c.txt") == 1
    assert "and 2 more, not shown here" in page.text


@pytest.mark.slow
def test_beyond_thirty_classes_the_matrix_gives_way_to_the_most_frequent_confusions(tmp_path: Path) -> None:
    e = an_evaluation(tuple(f"breed {i}" for i in range(31)), n=400, gap=3)
    page = a_page(tmp_path, e)

    assert sum(tag == "svg" for tag, _ in page.tags) == 1
    confusion = np.array(e.confusion) - np.diag(np.diag(e.confusion))
    true, other = np.unravel_index(confusion.argmax(), confusion.shape)
    rows = [row for row in page.rows if len(row) == 4 and row[2] == str(confusion.max())]
    assert [f"breed {true}", f"breed {other}"] in [row[:2] for row in rows]


@pytest.mark.slow
def test_a_perfect_classifier_has_a_report_too(tmp_path: Path) -> None:
    text = a_page(tmp_path, an_evaluation(gap=50)).text.replace("\xa0", " ")

    assert "60 of 60 test images correct: 100.0 %" in text
    assert "None: all test images were classified correctly." in text


@pytest.mark.slow
def test_a_classifier_below_a_baseline_carries_a_warning(tmp_path: Path) -> None:
    text = a_page(tmp_path, an_evaluation(gap=0.0)).text.replace("\xa0", " ")

    assert re.search(r"The baseline \w+ reaches [\d.]+ %\. (It is better|This test set does not show)", text)
    assert "lead of this classifier, paired test" in text


@pytest.mark.slow
def test_warnings_of_the_run_stand_beside_the_number(tmp_path: Path) -> None:
    page = a_page(tmp_path, warnings=("Nothing was pretrained.",))

    assert page.text.index("Nothing was pretrained.") < page.text.index("Most confident mistakes")


@pytest.mark.slow
def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    contents = some_contents(tmp_path)

    first = write_report(tmp_path / "one.html", contents).read_bytes()

    assert write_report(tmp_path / "two.html", contents).read_bytes() == first
    assert len(first) < 1_500_000


@pytest.mark.slow
def test_a_report_that_cannot_be_made_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    contents = some_contents(tmp_path)
    (tmp_path / "out").mkdir()
    path = write_report(tmp_path / "out" / "report.html", contents)
    before = path.read_bytes()

    with pytest.raises(UndefinedError, match="has no attribute"):
        write_report(path, dataclasses.replace(contents, choices=({},)))

    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]


@pytest.mark.slow
def test_a_path_that_cannot_be_written_is_an_error_and_stays_as_it_was(tmp_path: Path) -> None:
    contents = some_contents(tmp_path)
    (tmp_path / "out" / "report.html" / "kept").mkdir(parents=True)

    with pytest.raises(RunError, match="a page that can be written"):
        write_report(tmp_path / "out" / "report.html", contents)
    with pytest.raises(RunError, match="No such file"):
        write_report(tmp_path / "missing" / "report.html", contents)

    assert [one.name for one in (tmp_path / "out").iterdir()] == ["report.html"]


def colours(css: str, start: str) -> dict[str, str]:
    block = css[css.index(start) :]
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block[: block.index("}")]))


@pytest.mark.parametrize("theme", [":root {\n  color-scheme", ":root {\n    --ground: #16"])
def test_text_is_readable_in_light_and_in_dark(theme: str, tmp_path: Path) -> None:
    found = colours(a_page(tmp_path).source, theme)

    for ground in ("ground", "card"):
        for text in ("text", "muted", "problem", "warning", "note", "accent"):
            assert contrast(found[text], found[ground]) >= 4.5, (text, ground)  # WCAG 2.1, 1.4.3


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
