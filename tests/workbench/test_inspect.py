"""inspect: one look or all, on a page; what cannot be done is said, and the model stays as it was."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from headstart.backbones.backbone import load_backbone
from headstart.best_practices.doctor import doctor as examine
from headstart.errors import RecipeError
from headstart.inspection.catalogue import ANALYSES
from headstart.progress import Detail, Event
from headstart.workbench.inspect import inspect
from headstart.workbench.run import Run
from headstart.workbench.train import train


def quiet(event: Event) -> None:
    """Nobody listens."""


@pytest.mark.slow
def test_all_looks_stand_on_one_page_and_what_lacks_something_is_named(run: Run, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "inside.html"
    before = run.classifier.backbone.fingerprint
    found = inspect("all", run.classifier, photos, out=page, most=12, on_event=quiet)
    wanted = {name for name, one in ANALYSES.items() if one.in_all}
    assert set(found.results) | set(found.left_out) == wanted
    assert set(found.left_out) == {"similarity", "line"}
    assert "second model" in found.left_out["similarity"]
    text = page.read_text(encoding="utf-8")
    for name, insight in found.results.items():
        assert f'id="{name}"' in text
        assert insight.title in text
        assert insight.interpretation
    assert text.count('<svg class="figure"') == len(found.results)
    assert text.count(' aria-label="') >= len(found.results)
    assert "<script" not in text
    assert run.classifier.backbone.fingerprint == before
    assert found.to_dict()["images"] == 12
    assert set(found.to_dict()["results"]) == set(found.results)


@pytest.mark.slow
def test_a_look_compares_with_the_model_before(run: Run, photos: Path) -> None:
    found = inspect("similarity", run.classifier, photos, against=run.folder, most=12, on_event=quiet)
    assert "similarity" in found.results
    assert str(found)


@pytest.mark.slow
def test_one_look_can_be_drawn_into_a_file(run: Run, photos: Path, tmp_path: Path) -> None:
    inspect("filters", run.folder, photos, figure=tmp_path / "filters.png", most=4, on_event=quiet)
    assert (tmp_path / "filters.png").read_bytes()[:4] == b"\x89PNG"


def command_on(page: Path) -> list[str]:
    """Words of the command at the foot; none where there is no command."""
    found = re.search(r'<code class="command">(.*?)</code>', page.read_text(encoding="utf-8"))
    return shlex.split(html.unescape(found[1])) if found else []


@pytest.mark.slow
def test_the_page_ends_with_the_command_that_makes_it_again(run: Run, photos: Path, tmp_path: Path) -> None:
    page, weights = tmp_path / "a page.html", tmp_path / "weights.safetensors"
    save_file(load_backbone("embedded").network.state_dict(), weights)
    inspect("filters", "embedded", photos, out=page, most=4, seed=3, weights=str(weights), on_event=quiet)
    options = ["--out", str(page), "--most", "4", "--weights", str(weights), "--seed", "3"]
    assert command_on(page) == ["headstart", "inspect", "filters", "embedded", str(photos), *options]
    inspect("similarity", run.folder, photos, against=run.folder, out=page, on_event=quiet)
    options = ["--against", str(run.folder), "--out", str(page)]
    assert command_on(page) == ["headstart", "inspect", "similarity", str(run.folder), str(photos), *options]


@pytest.mark.slow
def test_a_loaded_model_has_no_command(run: Run, photos: Path, tmp_path: Path) -> None:
    inspect("filters", run.classifier, photos, out=tmp_path / "one.html", most=4, on_event=quiet)
    inspect("similarity", run.folder, photos, against=run.classifier, out=tmp_path / "two.html", most=4, on_event=quiet)
    assert command_on(tmp_path / "one.html") == command_on(tmp_path / "two.html") == []


@pytest.mark.slow
def test_the_page_of_a_run_lists_every_rule(run: Run) -> None:
    text = html.unescape((run.folder / "inside.html").read_text(encoding="utf-8"))
    found = examine(run.classifier)
    assert found.not_applicable
    for one in (*found.not_checked, *found.not_applicable):
        assert one.rule in text
        assert one.reason in text
    assert f"{len(found.not_applicable)} not applicable</summary>" in text


@pytest.mark.parametrize(
    ("what", "figure", "word"),
    [
        ("filtres", None, "filters"),
        ("all", "a.png", "one analysis"),
        ("filters", "a.gif", ".png"),
        ("line", None, "second model"),
    ],
)
def test_mistakes_are_said(run: Run, photos: Path, what: str, figure: str | None, word: str, tmp_path: Path) -> None:
    place = None if figure is None else tmp_path / figure
    with pytest.raises(RecipeError) as caught:
        inspect(what, run.classifier, photos, figure=place, most=4, on_event=quiet)
    assert word in str(caught.value)


@pytest.mark.slow
def test_a_backbone_without_a_head_and_names_from_outside(photos: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "<img src=x onerror=alert(1)>"
    hostile.mkdir()
    for path in sorted(photos.rglob("*.png"))[:6]:
        (hostile / f"{path.stem}.png").write_bytes(path.read_bytes())
    page = tmp_path / "page.html"
    found = inspect("all", load_backbone("embedded"), hostile, out=page, on_event=quiet)
    assert "batch-norm" in found.results
    assert "<img src=x" not in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_has_a_page_that_looks_inside_unless_it_is_not_wanted(run: Run, photos: Path, tmp_path: Path) -> None:
    text = (run.folder / "inside.html").read_text(encoding="utf-8")
    assert 'id="batch-norm"' in text
    assert 'id="doctor"' in text
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "inside.html#batch-norm" in report
    assert run.record["preprocessing"]["verdict"] in ("fine", "warning")
    without = train(photos, out=tmp_path / "run", on_event=quiet, backbone="embedded", engine="eager", inside=False)
    assert not (without.folder / "inside.html").exists()
    assert "inside.html" not in (without.folder / "report.html").read_text(encoding="utf-8")
    assert torch.equal(torch.from_numpy(without.classifier.head.weight), torch.from_numpy(run.classifier.head.weight))


@pytest.mark.slow
def test_one_analysis_is_a_step_that_gives_signs_of_life(run: Run, photos: Path) -> None:
    events: list[Event] = []
    inspect("filters", run.folder, photos, on_event=events.append)
    assert any(isinstance(event, Detail) and event.text.startswith("filters: ") for event in events)
