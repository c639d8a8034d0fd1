"""The analyses by name: what each shows, what it needs, and how more are added. Importing this needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from headstart.errors import RecipeError
from headstart.public_api import public_api
from headstart.registry import Registry

NEEDS = ("", "labels", "prepared", "before")

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Analysis:
    """One analysis: a function `(model, images) -> InspectionResult`.

    Args:
        about: what it shows, a few words.
        function: or `module:function`, imported when it is run. It is given `seed` where it has such a parameter.
        needs: besides a model and images: `labels`; `prepared`, the images before normalisation; or `before`, a second
            model: the function is then called as `(before, model, images)`.
        in_all: whether `inspect all` runs it; False for what takes minutes.
    """

    about: str
    function: str | Callable[..., Any]
    needs: str = ""
    in_all: bool = True


ANALYSES: Registry[Analysis] = Registry("analysis", "analyses")


@public_api
def register_analysis(
    name: str, *, about: str = "", needs: str = "", in_all: bool = True
) -> Callable[[_Function], _Function]:
    """A decorator that adds an analysis, so that `inspect NAME` and `inspect all` run it.

    The function takes a model (Classifier, Backbone or any module) and `InspectedImages`, changes neither, and returns
    an `InspectionResult`, simplest a `SimpleResult`.

    Args:
        about: what it shows; the function's first docstring line if left out.
        needs, in_all: see `Analysis`.

    Raises:
        RecipeError: the name is taken, or `needs` is unknown.
    """
    if not isinstance(about, str):
        raise RecipeError(expected="a text as about", found=repr(about), where=f"register_analysis({name!r})")
    if needs not in NEEDS:
        raise RecipeError(
            expected=" or ".join(map(repr, NEEDS)), found=repr(needs), where=f"register_analysis({name!r}), needs"
        )

    def decorate(function: _Function) -> _Function:
        known = ANALYSES.added(name)
        if known is not None and _is_redefined(known.function, function):
            ANALYSES.remove(name)  # a notebook cell that is run again
        ANALYSES.add(name, Analysis(about or _first_line(function), function, needs=needs, in_all=in_all))
        return function

    return decorate


def all_analyses() -> dict[str, Analysis]:
    """Every analysis by name; one whose package cannot be imported says so in `about`, and fails when it is run."""
    found: dict[str, Analysis] = {}
    for name in ANALYSES:
        try:
            found[name] = find_analysis(name)
        except RecipeError as error:
            found[name] = Analysis(f"cannot be imported: {error.found}", _raises(error))
    return found


def find_analysis(name: str) -> Analysis:
    """The analysis of a name; a plain function from an entry point needs model and images only.

    Raises:
        RecipeError: nothing has that name, or its package cannot be imported.
    """
    found: Any = ANALYSES.find(name, where="inspect")
    return found if isinstance(found, Analysis) else Analysis(_first_line(found), found)


def _raises(error: RecipeError) -> Callable[..., Any]:
    def fail(model: object, images: object) -> None:
        raise error

    return fail


def _is_redefined(before: Any, function: Any) -> bool:
    names = [(getattr(one, "__module__", ""), getattr(one, "__qualname__", "")) for one in (before, function)]
    return names[0] == names[1] and all(names[0])


def _first_line(function: Any) -> str:
    return (getattr(function, "__doc__", None) or "").strip().partition("\n")[0].rstrip(".")


_ROOM = "headstart.inspection"
_OWN = {
    "preprocessing": Analysis(
        "whether images arrive as the network was trained to see them",
        f"{_ROOM}.run_analysis:check_prepared",
        needs="prepared",
    ),
    "batch-norm": Analysis(
        "stored batch-norm statistics against those of your images", f"{_ROOM}.batch_norm.drift:batch_norm_drift"
    ),
    "batch-mode": Analysis("predictions with stored against batch statistics", f"{_ROOM}.batch_norm.mode_gap:mode_gap"),
    "residual": Analysis(
        "what each residual block adds, and what is lost without it", f"{_ROOM}.residual.blocks:residual_blocks"
    ),
    "filters": Analysis(
        "first-layer filters: near-duplicates, dead and untrained ones", f"{_ROOM}.weights.filters:filters"
    ),
    "feature-maps": Analysis(
        "feature maps of every stage, and where the classes separate", f"{_ROOM}.features.feature_maps:feature_maps"
    ),
    "embedding": Analysis(
        "a map of the images in feature space, overlapping classes, outliers",
        f"{_ROOM}.features.embedding:embedding",
    ),
    "gradients": Analysis(
        "correlation of the gradients at neighbouring inputs",
        f"{_ROOM}.gradients.correlation:gradient_correlation",
        in_all=False,
    ),
    "similarity": Analysis(
        "what training changed, stage by stage", f"{_ROOM}.features.similarity:similarity", needs="before"
    ),
    "line": Analysis(
        "the loss on the line between two sets of weights", f"{_ROOM}.weights.line:weight_line", needs="before"
    ),
    "plane": Analysis(
        "the loss around the weights; takes minutes, for small networks",
        f"{_ROOM}.weights.plane:weight_plane",
        in_all=False,
    ),
}
for _name, _analysis in _OWN.items():
    ANALYSES.add(_name, _analysis)
