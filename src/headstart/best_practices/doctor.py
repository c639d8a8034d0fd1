"""doctor: best practices, checked on any network; it changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from headstart.best_practices.diagnosis import Diagnosis, Unchecked
from headstart.best_practices.examination import Batch, Examination, Loss, NotApplicableError, NotCheckedError
from headstart.best_practices.rule import SEVERITIES, DoctorFinding, Issue, Rule
from headstart.best_practices.rules import RULES, own_rules
from headstart.errors import BackboneError, RecipeError, kind_and_line
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import InspectedModel, Model, inspected_model
from headstart.inspection.module_attributes import attributes_kept
from headstart.preserve import torch_settings_kept
from headstart.registry import foreign_code

MOST_ISSUES = 1000
"""The most issues of one rule that are looked at: one from outside may yield them without end."""

Rules = Sequence[str | Rule] | str | Rule


def doctor(  # each parameter is an input that some rules need and that you may lack
    model: Model,
    *,
    images: InspectedImages | Tensor | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    loss: Loss | None = None,
    batch: Batch | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    file: Path | None = None,
    rules: Rules | None = None,
) -> Diagnosis:
    """Check best practices on a network; a rule that lacks an input is listed as not checked.

    A rule from outside headstart that fails is listed as not checked, with its error; it stops nothing.

    Args:
        images: that the network is for, normalised.
        optimizer: one or several that train it.
        loss: function of outputs and targets that training minimises, such as `nn.CrossEntropyLoss()`.
        batch: inputs and targets of one training step, such as `next(iter(loader))`.
        batch_size: images per training step; by default that of the batch.
        steps: of the training to come.
        file: the classifier file that the model was loaded from.
        rules: which to check, by name or as marked with `register_rule`; None: all.

    Raises:
        BackboneError: the network has lazy layers that never ran, or weights on the device meta.
        DataError: the images are no batch of pixels.
        RecipeError: the batch size or the number of steps is below 1, the batch is no pair, or a rule is unknown.
    """
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None and value < 1:
            raise RecipeError(expected=f"{name} of 1 or more", found=str(value), where="doctor")
    chosen, broken = _all_rules() if rules is None else (_chosen_rules(rules), [])
    inspected = inspected_model(model)
    _check_weights_known(inspected, runs=images is not None or batch is not None)
    examination = Examination.of(
        inspected,
        images=None if images is None else InspectedImages.of(images),
        optimizers=(optimizer,) if isinstance(optimizer, Optimizer) else optimizer,
        loss=loss,
        batch=_pair(batch),
        batch_size=batch_size or _size(batch),
        steps=steps,
        file=file,
    )
    trusted = all(rule.is_own for rule in chosen)
    kept = attributes_kept(inspected.network)
    with torch_settings_kept(), inspected.eval_mode(weights=not trusted), kept:
        return _diagnose(examination, chosen, broken)


def _pair(batch: Batch | None) -> Batch | None:
    if batch is None:
        return None
    if not isinstance(batch, Sequence) or len(batch) != 2:
        raise RecipeError(expected="a batch of inputs and targets", found=type(batch).__name__, where="batch")
    return batch[0], batch[1]


def _size(batch: Batch | None) -> int | None:
    inputs = None if batch is None else batch[0]
    return len(inputs) or None if isinstance(inputs, Tensor) and inputs.ndim else None


def _diagnose(examination: Examination, rules: Sequence[Rule], broken: Sequence[Unchecked]) -> Diagnosis:
    findings: list[DoctorFinding] = []
    passed: list[str] = []
    not_checked = list(broken)
    not_applicable: list[Unchecked] = []
    for rule in rules:
        issues: list[Issue] = []
        try:
            _require_inputs(rule, examination)
            with foreign_code():
                for issue in itertools.islice(rule(examination), MOST_ISSUES):
                    issues.append(_valid(issue))  # one by one: what was found counts, though the rest cannot be checked
        except NotCheckedError as missing:
            not_checked += [] if issues else [Unchecked(rule.name, f"needs {missing}")]
        except NotApplicableError as absence:
            not_applicable.append(Unchecked(rule.name, str(absence)))
        except Exception as error:  # foreign code may raise anything; headstart's own must not
            if rule.is_own:
                raise
            reason = kind_and_line(error)
            owner = RULES.owner(rule.name)
            not_checked.append(Unchecked(rule.name, f"the rule of {owner} failed with {reason}"))
        else:
            passed += [] if issues else [rule.name]
        findings += [_finding(rule, issue) for issue in issues]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    name = examination.inspected.name
    return Diagnosis(
        name, tuple(findings), tuple(passed), not_checked=tuple(not_checked), not_applicable=tuple(not_applicable)
    )


def _all_rules() -> tuple[list[Rule], list[Unchecked]]:
    """Headstart's own rules, all others, and those of installed packages that cannot be imported."""
    found = list(own_rules())
    broken: list[Unchecked] = []
    for name in RULES:
        try:
            found.append(_rule(RULES[name]))
        except RecipeError as error:
            broken.append(Unchecked(name, f"the rule of {RULES.owner(name)} failed: {error.found}"))
    return list(dict.fromkeys(found)), broken  # a package may register a rule that is also its entry point


def _chosen_rules(rules: Rules) -> list[Rule]:
    several = (rules,) if isinstance(rules, (str, Rule)) else rules
    return [_rule(RULES.find(one, where="rules") if isinstance(one, str) else one) for one in several]


def _rule(value: object) -> Rule:
    if not isinstance(value, Rule):
        raise RecipeError(
            expected="a rule, by its name or as a function marked with register_rule",
            found=f"{getattr(value, '__name__', value)!r} ({type(value).__name__})",
            where="rules",
        )
    return value


def _check_weights_known(inspected: InspectedModel, *, runs: bool) -> None:
    if any(is_lazy(parameter) for parameter in inspected.network.parameters()):
        raise BackboneError(
            expected="a network whose layers know their shapes",
            found="lazy ones",
            where=inspected.name,
            hint="Run it once on an image first.",
        )
    empty = [name for name, one in inspected.network.named_parameters() if one.is_meta]
    if runs and empty:  # its form can be examined, and nothing computed with it
        raise BackboneError(
            expected="a network whose weights have numbers, as images or a batch are given",
            found=f"{len(empty)} on the device meta, such as {empty[0]}",
            where=inspected.name,
            hint="Load its weights, or use module.to_empty(device='cpu').",
        )


def _require_inputs(rule: Rule, examination: Examination) -> None:
    if rule.only_with and not any(isinstance(module, rule.only_with) for module in examination.modules.values()):
        kinds = " or ".join(kind.__name__.strip("_") for kind in rule.only_with).replace("BatchNorm", "batch norm")
        raise NotApplicableError(f"no {kinds}")
    if "file" in rule.needs and examination.inspected.classifier is None:
        raise NotApplicableError("no classifier")
    missing = examination.missing(rule.needs)
    if missing:
        raise NotCheckedError(" and ".join(missing))


def _valid(issue: Issue) -> Issue:
    """Check what a rule yields, since the rule may not be typed."""
    places: object = getattr(issue, "places", None)
    if not isinstance(issue, Issue):
        raise TypeError(f"expected an Issue, got {type(issue).__name__}")
    if not isinstance(places, (tuple, list)) or not all(isinstance(place, str) for place in places):
        raise TypeError(f"expected places as a tuple of strings, got {places!r}")
    if not isinstance(issue.found, str):
        raise TypeError(f"expected found as a text, got {type(issue.found).__name__}")
    if issue.severity and issue.severity not in SEVERITIES:
        raise ValueError(f"expected a severity of {', '.join(SEVERITIES)}, got {issue.severity!r}")
    return issue


def _finding(rule: Rule, issue: Issue) -> DoctorFinding:
    return DoctorFinding(
        rule.name,
        issue.severity or rule.severities[0],
        places=tuple(place or "the network itself" for place in issue.places),
        found=issue.found,
        why=rule.why,
        source=rule.source,
        fix=rule.fix,
    )
