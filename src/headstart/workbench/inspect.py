"""inspect: analyses of a model on your images: one of them, or all on one page."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Unpack

from headstart.best_practices.diagnosis import Diagnosis
from headstart.best_practices.doctor import doctor as examine
from headstart.classifier.classifier import Classifier
from headstart.data.python_source import Source, is_path
from headstart.errors import HeadstartError, RecipeError
from headstart.inspection.batch_norm.preprocessing_check import PreprocessingCheck
from headstart.inspection.catalogue import all_analyses
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.inspection_result import InspectionResult
from headstart.inspection.run_analysis import run_analysis
from headstart.inspection.weights.filters import filters
from headstart.options import InspectOptions, takes
from headstart.output_paths import PAGES, writable_file
from headstart.plain import Plain
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.reports.inside import InsideContents, write_inside
from headstart.workbench.argument_order import check_analysis_order
from headstart.workbench.events import FilesWritten
from headstart.workbench.figure_file import check_figure, write_figure
from headstart.workbench.open_model import MOST, Named, images_for, open_model
from headstart.workbench.session import Session

_DECIDES = ("weights", "seed", "max_pixels")  # of the options, those that decide what is seen


@dataclass(frozen=True)
class Inspection(Plain):
    """What was found inside a model.

    Args:
        model: its name. images: how many it was shown.
        results: name of the analysis → what it found. left_out: name → why it could not be done.
        diagnosis: of the doctor, with `all`.
    """

    model: str
    images: int
    results: Mapping[str, InspectionResult]
    left_out: Mapping[str, str] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None

    @property
    def paragraphs(self) -> list[object]:
        """The diagnosis, each result, and what could not be done, in the order in which they are read."""
        first: list[object] = [] if self.diagnosis is None else [self.diagnosis]
        not_done = [f"Not done: {name}: {reason}" for name, reason in self.left_out.items()]
        return [*first, *self.results.values(), *not_done]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.paragraphs))


@takes(InspectOptions)
def inspect(
    what: str,
    model: Named,
    source: Source,
    *,
    against: Named | None = None,
    out: str | Path | None = None,
    figure: str | Path | None = None,
    most: int = MOST,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[InspectOptions],
) -> Inspection:  # nine: what to look at, and where each form of the result goes
    """Analyse a model on some images of a set; nothing of the model is changed.

    Args:
        what: name of an analysis, see `headstart inspect`, or `all`.
        model: a backbone's name, a classifier file, the folder of a run, or a loaded model.
        source: images: a set with classes, of which the test split is taken, or loose files; or in memory, as for
            `train` and `predict`: a DataFrame, (image, label) pairs, a Dataset, arrays, Pillow images.
        against: the model before, for the analyses that compare.
        out: page to write; with `all` the default is `inside.html`.
        figure: file for the figure of one analysis.
        most: images at most, drawn by the recipe's seed.

    Raises:
        RecipeError: there is no such analysis, nothing to compare with, or the figure's format is unknown.
        DataError: there are no images, or not those that the analysis needs.
    """
    session = Session(recipe, options, on_event)
    check_analysis_order(what, model, source, names=(*all_analyses(), "all"))
    _check(what, figure)
    page = writable_file(out or "inside.html", replaces=PAGES) if out is not None or what == "all" else None
    opened = open_model(session, model)
    before = None if against is None else open_model(session, against)
    images = images_for(session, opened, source, most=most)
    if what == "all":
        found = inspect_all(session, opened, images, before=before)
    else:
        with session.step(what):
            result = run_analysis(what, opened, images, before=before, seed=session.recipe.seed)
        found = Inspection(inspected_model(opened).name, len(images), {what: result})
    if figure is not None:
        _draw(found.results[what], Path(figure))
        session.on_event(FilesWritten(Path(figure).parent, (Path(figure).name,), ""))
    if page is not None:
        again = _command([what, model, source], {"against": against, "out": out}, most=most, recipe=session.recipe)
        write_inside(page, contents_of(found, _images_in(len(images), source), again))
        session.on_event(FilesWritten(page.parent, (page.name,), ""))
    return found


def _images_in(count: int, source: Source) -> str:
    return f"{count} images of {Path(source).name}" if is_path(source) else f"{count} images from memory"


def _command(named: Sequence[object], paths: Mapping[str, Named | None], *, most: int, recipe: Recipe) -> str:
    """The command that makes the page again, with what differs from the defaults; empty for a model without a name."""
    given = {name: value for name, value in paths.items() if value is not None}
    if not all(isinstance(one, (str, Path)) for one in (*named, *given.values())):
        return ""
    usual = {"most": MOST, **{name: getattr(Recipe(), name) for name in _DECIDES}}
    wanted = {"most": most, **{name: getattr(recipe, name) for name in _DECIDES}}
    given |= {name: str(value) for name, value in wanted.items() if value != usual[name]}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    return shlex.join(map(str, ["headstart", "inspect", *named, *words]))


def list_analyses() -> list[dict[str, str]]:
    """Every analysis with what it shows and what it needs, for lists."""
    return [{"name": name, "about": one.about, "needs": one.needs} for name, one in all_analyses().items()]


def inspect_all(session: Session, model: Model, images: InspectedImages, *, before: Model | None = None) -> Inspection:
    """Every analysis that is possible here, and the doctor's rules; for the others the reason why not."""
    work: dict[str, Callable[[], InspectionResult]] = {
        name: partial(run_analysis, name, model, images, before=before, seed=session.recipe.seed)
        for name, analysis in all_analyses().items()
        if analysis.in_all
    }
    results, left_out = _each(session, work)
    diagnosis = examine(model, images=images)
    return Inspection(inspected_model(model).name, len(images), results, left_out=left_out, diagnosis=diagnosis)


def inspect_briefly(
    session: Session, model: Classifier, images: InspectedImages, *, check: PreprocessingCheck
) -> Inspection:
    """What costs little: the check that was made already, batch norm on a few images, filters and rules by weights."""
    work: dict[str, Callable[[], InspectionResult]] = {
        **({} if check.current is None else {"preprocessing": lambda: check}),
        "batch-norm": partial(run_analysis, "batch-norm", model, images, seed=session.recipe.seed),
        "filters": lambda: filters(model),
    }
    results, left_out = _each(session, work)
    left_out |= {"preprocessing": check.reason} if check.current is None else {}
    diagnosis = examine(model)
    return Inspection(inspected_model(model).name, len(images), results, left_out=left_out, diagnosis=diagnosis)


def _each(
    session: Session, work: Mapping[str, Callable[[], InspectionResult]]
) -> tuple[dict[str, InspectionResult], dict[str, str]]:
    """What each analysis found, and the reason of those that could not be done."""
    progress = session.progress("inspect", unit="analyses")
    results: dict[str, InspectionResult] = {}
    left_out: dict[str, str] = {}
    for done, (name, one) in enumerate(work.items(), start=1):
        try:
            with session.signs_of_life(name):
                results[name] = one()
        except HeadstartError as error:
            left_out[name] = f"{error.found}; expected {error.expected}"
        progress(done, len(work))
    return results, left_out


def contents_of(found: Inspection, images: str, command: str) -> InsideContents:
    """What the page shows of it."""
    return InsideContents(
        model=found.model,
        images=images,
        results=found.results,
        left_out=found.left_out,
        diagnosis=found.diagnosis,
        command=command,
    )


def _check(what: str, figure: str | Path | None) -> None:
    if figure is None:
        return
    if what == "all":
        raise RecipeError(
            expected="one analysis",
            found="all",
            where="--figure",
            hint="all writes a page with every figure: --out FILE.",
        )
    check_figure(Path(figure))


def _draw(result: InspectionResult, path: Path) -> None:
    figure = result.figure()
    if figure is None:
        raise RecipeError(
            expected="an analysis with a figure",
            found="one without",
            where="--figure",
            hint="headstart help inspect lists the analyses.",
        )
    write_figure(figure, path)
