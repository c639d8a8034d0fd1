"""inspect: looks into a model with the user's images: one look, or all of them on one page."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import doctor as examine
from headstart.classifier.classifier import Classifier
from headstart.errors import HeadstartError, RecipeError, RunError
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.inspection.catalogue import ANALYSES, find_analysis
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult
from headstart.inspection.run_analysis import run_analysis
from headstart.inspection.weights.filters import filters
from headstart.progress import OnEvent, ProgressReporter, print_event
from headstart.recipe import Recipe
from headstart.reports.inside import InsideContents, write_inside
from headstart.workbench.events import FilesWritten
from headstart.workbench.inspected_images import MOST
from headstart.workbench.open_model import Named, images_for, open_model
from headstart.workbench.prepare import recipe_from

_PICTURES = (".png", ".svg", ".pdf")
_KNOBS = ("weights", "seed", "max_pixels")  # of those that the command takes, what decides what is seen


@dataclass(frozen=True)
class Inspection:
    """What was found inside a model.

    Args:
        model: its name. images: how many it was shown.
        insights: name of the look → what it found. left_out: name → why it could not be done.
        diagnosis: of the doctor, with `all`.
    """

    model: str
    images: int
    insights: Mapping[str, InspectionResult]
    left_out: Mapping[str, str] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain values for `--json`."""
        return {
            "model": self.model,
            "images": self.images,
            "insights": {name: insight.to_dict() for name, insight in self.insights.items()},
            "left_out": dict(self.left_out),
            "diagnosis": None if self.diagnosis is None else self.diagnosis.to_dict(),
        }

    def __str__(self) -> str:
        parts = [] if self.diagnosis is None else [str(self.diagnosis)]
        parts += [str(insight) for insight in self.insights.values()]
        parts += [f"Not looked at: {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n\n".join(parts)


def inspect(
    what: str,
    model: Named,
    source: str | Path,
    *,
    against: Named | None = None,
    out: str | Path | None = None,
    figure: str | Path | None = None,
    most: int = MOST,
    recipe: Recipe | None = None,
    on_event: OnEvent = print_event,
    **knobs: object,
) -> Inspection:
    """Look into a model with some images of a set; nothing of the model is changed.

    Args:
        what: a look of `headstart.inspection.catalogue`, or `all`.
        model: a row of the catalogue, a classifier file, the folder of a run, or a loaded model.
        source: images: a set with classes, of which the test part is taken, or loose files.
        against: the model before, for the looks that compare.
        out: page to write; with `all` it is `inside.html` if left out.
        figure: file for the picture of one look.
        most: images at most, drawn by the recipe's seed.

    Raises:
        RecipeError: there is no such look, nothing to compare with, or the picture's kind is unknown.
        DataError: there are no images, or not those that the look needs.
    """
    recipe = recipe_from(recipe, knobs)
    _check(what, figure)
    opened = open_model(model, recipe, on_event)
    before = None if against is None else open_model(against, recipe, on_event)
    images = images_for(opened, Path(source), recipe, on_event, most=most)
    if what == "all":
        found = look_at_all(opened, images, before, recipe.seed, on_event)
    else:
        found = _one(what, opened, images, before, recipe)
    if figure is not None:
        _draw(found.insights[what], Path(figure))
        on_event(FilesWritten(Path(figure).parent, (Path(figure).name,), ""))
    if out is not None or what == "all":
        page = Path(out or "inside.html")
        again = _again([what, model, source], {"against": against, "out": out}, most, recipe)
        write_inside(page, contents_of(found, f"{len(images)} images of {Path(source).name}", again))
        on_event(FilesWritten(page.parent, (page.name,), ""))
    return found


def _again(named: Sequence[Named], options: Mapping[str, Named | None], most: int, recipe: Recipe) -> str:
    """The command that makes the page again, with what differs from the defaults; empty for a model without a name."""
    given = {name: value for name, value in options.items() if value is not None}
    if not all(isinstance(one, (str, Path)) for one in (*named, *given.values())):
        return ""
    usual = {"most": MOST, **{name: getattr(Recipe(), name) for name in _KNOBS}}
    wanted = {"most": most, **{name: getattr(recipe, name) for name in _KNOBS}}
    given |= {name: str(value) for name, value in wanted.items() if value != usual[name]}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    return shlex.join(map(str, ["headstart", "inspect", *named, *words]))


def looks() -> list[dict[str, str]]:
    """Every look with what it shows and what it needs, for lists."""
    found = {name: find_analysis(name) for name in ANALYSES}
    return [{"name": name, "about": one.about, "needs": one.needs} for name, one in found.items()]


def look_at_all(
    model: Model, images: InspectedImages, before: Model | None, seed: int, on_event: OnEvent
) -> Inspection:
    """Every look that can be done here, and the doctor's rules; the others with the reason why not."""
    work: dict[str, Callable[[], InspectionResult]] = {
        name: partial(run_analysis, name, model, images, before=before, seed=seed)
        for name in ANALYSES
        if find_analysis(name).in_all
    }
    insights, left_out = _each(work, ProgressReporter(on_event, "look inside", unit="looks"))
    return Inspection(inspected_model(model).name, len(images), insights, left_out, examine(model, images=images))


def look_briefly(
    model: Classifier, images: InspectedImages, checked: PreprocessingCheck, seed: int, on_event: OnEvent
) -> Inspection:
    """What costs little: the check that was made already, batch norm on a few images, filters and rules by weights."""
    work: dict[str, Callable[[], InspectionResult]] = {
        **({} if checked.seen is None else {"preprocessing": lambda: checked}),
        "batch-norm": partial(run_analysis, "batch-norm", model, images, seed=seed),
        "filters": lambda: filters(model),
    }
    insights, left_out = _each(work, ProgressReporter(on_event, "look inside", unit="looks"))
    left_out |= {"preprocessing": checked.why} if checked.seen is None else {}
    return Inspection(inspected_model(model).name, len(images), insights, left_out, examine(model))


def _each(
    work: Mapping[str, Callable[[], InspectionResult]], progress: Callable[[int, int], None]
) -> tuple[dict[str, InspectionResult], dict[str, str]]:
    """What each look found, and the reason of those that could not be done."""
    insights: dict[str, InspectionResult] = {}
    left_out: dict[str, str] = {}
    for done, (name, one) in enumerate(work.items(), start=1):
        try:
            insights[name] = one()
        except HeadstartError as error:
            left_out[name] = f"{error.found}; expected {error.expected}"
        progress(done, len(work))
    return insights, left_out


def contents_of(found: Inspection, images: str, command: str) -> InsideContents:
    """What the page shows of it."""
    return InsideContents(
        model=found.model,
        images=images,
        results=found.insights,
        left_out=found.left_out,
        diagnosis=found.diagnosis,
        command=command,
    )


def _one(what: str, model: Model, images: InspectedImages, before: Model | None, recipe: Recipe) -> Inspection:
    insight = run_analysis(what, model, images, before=before, seed=recipe.seed)
    return Inspection(inspected_model(model).name, len(images), {what: insight})


def _check(what: str, figure: str | Path | None) -> None:
    if figure is None:
        return
    if what == "all":
        raise RecipeError(
            expected="one look", found="all", where="--figure", hint="all writes a page with every picture: --out FILE."
        )
    if Path(figure).suffix.lower() not in _PICTURES:
        raise RecipeError(expected=" or ".join(_PICTURES), found=repr(Path(figure).suffix), where="--figure")


def _draw(insight: InspectionResult, path: Path) -> None:
    drawn = insight.figure()
    if drawn is None:
        raise RecipeError(expected="an analysis with a figure", found=f"{insight.title!r} has none", where="--figure")
    try:
        drawn.savefig(path, dpi=150)
    except OSError as error:
        raise RunError(expected="a file that can be written", found=str(error.strerror), where=path) from error
