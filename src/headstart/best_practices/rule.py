"""Rule: one best practice and the function that checks it; `register_rule` adds one, also from outside headstart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from headstart.best_practices.examination import INPUTS, Examination
from headstart.errors import RecipeError, near
from headstart.plain import Plain
from headstart.public_api import public_api
from headstart.registry import Registry

SEVERITIES = ("error", "warning", "advice")  # wrong results · probably a mistake · could be better

_NAMED = 3  # places written out; all of them are in the plain values


@dataclass(frozen=True)
class Issue:
    """What a rule finds.

    Args:
        places: paths of modules or names of parameters; empty for the whole network.
        found: what is wrong there, in words.
        severity: `error`, `warning` or `advice`; empty: the rule's first.
    """

    places: tuple[str, ...]
    found: str
    severity: str = ""


Check = Callable[[Examination], "Iterable[Issue] | None"]


@dataclass(frozen=True)
class Rule:
    """A best practice; calling it runs its check.

    Args:
        name: as shown, and as in `doctor(model, rules=[name])`.
        severities: that it can give, the usual one first.
        why: what goes wrong, one or two sentences.
        fix: what to do.
        check: yields the issues of a network; raises `NotCheckedError` where something is missing.
        source: of the claim, such as a paper.
        needs: inputs besides the model: `images`, `optimizer`, `batch_size`, `steps`, `file`.
        only_with: kinds of modules without which it is not applicable; empty: for every network.
    """

    name: str
    severities: tuple[str, ...]
    why: str
    fix: str
    check: Check
    source: str = ""
    needs: tuple[str, ...] = ()
    only_with: tuple[type[nn.Module], ...] = ()

    def __call__(self, examination: Examination) -> Iterable[Issue]:
        """The issues that the check finds."""
        return self.check(examination) or ()

    @property
    def is_own(self) -> bool:
        """Whether it is one of headstart's own."""
        return self.check.__module__.partition(".")[0] == "headstart"


RULES: Registry[Rule] = Registry("rule", "rules")
"""All rules by name; `rules.py` puts headstart's own into it first."""


@public_api
def register_rule(
    name: str,
    *severities: str,
    why: str,
    fix: str,
    source: str = "",
    needs: tuple[str, ...] = (),
    only_with: tuple[type[nn.Module], ...] = (),
) -> Callable[[Check], Rule]:
    """A decorator that turns a function into a rule, which `doctor` then checks.

    The function takes an `Examination` (`.network`, `.modules`, `.images`, `.optimizers`, `.graph` …) and yields an
    `Issue` for each problem, or nothing. It must not change the network.

    Args:
        name: as shown; must be new.
        severities: that it can give, the usual one first: `error`, `warning`, `advice`; `warning` if left out.
        why, fix, source, needs, only_with: see `Rule`.

    Raises:
        RecipeError: the name is taken, or a severity or an input is unknown.
    """
    for field, text in (("why", why), ("fix", fix), ("source", source)):
        if not isinstance(text, str):
            raise RecipeError(
                expected=f"a text as {field}",
                found=f"{text!r} ({type(text).__name__})",
                where=f"register_rule({name!r})",
                hint="Say it in a sentence: it is shown with every finding.",
            )
    for given, known in ((severities, SEVERITIES), (needs, tuple(INPUTS))):
        for word in set(given) - set(known):
            raise RecipeError(
                expected=" or ".join(known),
                found=repr(word),
                where=f"register_rule({name!r})",
                hint=near(word, known),
            )

    def decorate(check: Check) -> Rule:
        rule = Rule(
            name=name,
            severities=severities or ("warning",),
            why=why,
            fix=fix,
            check=check,
            source=source,
            needs=tuple(needs),
            only_with=tuple(only_with),
        )
        RULES.add(name, rule)
        return rule

    return decorate


@dataclass(frozen=True)
class DoctorFinding(Plain):
    """A rule that a network breaks.

    Args:
        name: of the rule.
        severity: one of SEVERITIES.
        places: paths of modules or names of parameters; empty for the whole network.
        found: what is wrong there.
        why, source, fix: as in the rule.
    """

    name: str
    severity: str
    places: tuple[str, ...]
    found: str
    why: str
    source: str
    fix: str

    @property
    def place(self) -> str:
        """The first places and how many more there are."""
        more = len(self.places) - _NAMED
        return ", ".join(self.places[:_NAMED]) + (f" and {more} more" if more > 0 else "")

    def to_dict(self) -> dict[str, object]:
        """The fields, and `place`."""
        return {**super().to_dict(), "place": self.place}
