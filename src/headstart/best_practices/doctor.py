"""doctor: the rules of the trade, checked on any network; it looks and leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from headstart.best_practices.diagnosis import Diagnosis, Unchecked
from headstart.best_practices.examination import Examination, NotApplicableError, NotCheckedError, examination_of
from headstart.best_practices.rule import SEVERITIES, DoctorFinding, Issue, Rule
from headstart.best_practices.rules import RULES
from headstart.errors import BackboneError, RecipeError
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspected_model import Model, inspected_model
from headstart.inspection.module_attributes import attributes_kept

_WORDS = {
    "batch_size": "the batch size",
    "steps": "the number of steps",
    "optimizer": "the optimiser",
    "file": "the classifier file",
}


def doctor(
    model: Model,
    *,
    images: InspectedImages | Tensor | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    file: Path | None = None,
) -> Diagnosis:
    """Check the rules of the trade on a network; a rule that lacks its input is listed as not checked.

    Args:
        images: that it is for, normalised.
        optimizer: one or several that train it.
        batch_size: images in a step of training. steps: of the training to come.
        file: the classifier file that the model was loaded from.

    Raises:
        BackboneError: the network has lazy layers that never ran.
        DataError: the images are no batch of pixels.
        RecipeError: the batch size or the number of steps is below 1.
    """
    for name, value in (("batch_size", batch_size), ("steps", steps)):
        if value is not None and value < 1:
            raise RecipeError(expected=f"{name} of 1 or more", found=str(value), where="doctor")
    subject = inspected_model(model)
    if any(is_lazy(parameter) for parameter in subject.network.parameters()):
        raise BackboneError(
            expected="a network whose layers know their shapes",
            found="lazy ones",
            where=subject.name,
            hint="Run it once on an image first.",
        )
    case = examination_of(
        subject,
        images=None if images is None else InspectedImages.of(images),
        optimizers=_several(optimizer),
        batch_size=batch_size,
        steps=steps,
        file=file,
    )
    with subject.eval_mode(), attributes_kept(subject.network):
        return _diagnose(subject.name, case, RULES)


def _diagnose(name: str, case: Examination, rules: Sequence[Rule]) -> Diagnosis:
    findings: list[DoctorFinding] = []
    passed: list[str] = []
    not_checked: list[Unchecked] = []
    not_concerned: list[Unchecked] = []
    for one in rules:
        faults: list[Issue] = []
        try:
            _ask_for(one, case)
            for fault in one.check(case):
                faults.append(fault)  # one by one: what was found counts, though the rest cannot be told
        except NotCheckedError as lack:
            not_checked += [] if faults else [Unchecked(one.name, f"needs {lack}")]
        except NotApplicableError as absence:
            not_concerned.append(Unchecked(one.name, str(absence)))
        else:
            passed += [] if faults else [one.name]
        findings += [_symptom(one, fault) for fault in faults]
    findings.sort(key=lambda symptom: SEVERITIES.index(symptom.severity))
    return Diagnosis(name, tuple(findings), tuple(passed), tuple(not_checked), tuple(not_concerned))


def _ask_for(one: Rule, case: Examination) -> None:
    given = {
        "images": case.images,
        "optimizer": case.optimizers,
        "batch_size": case.batch_size,
        "steps": case.steps,
        "file": case.file,
    }
    if one.only_with and not any(isinstance(module, one.only_with) for module in case.modules.values()):
        raise NotApplicableError(f"no {_kinds(one)}")
    if "file" in one.needs and case.subject.classifier is None:
        raise NotApplicableError("no classifier")
    lacking = [_WORDS.get(need, need) for need in one.needs if given[need] is None]
    if lacking:
        raise NotCheckedError(" and ".join(lacking))


def _symptom(one: Rule, fault: Issue) -> DoctorFinding:
    severity = fault.severity or one.severities[0]
    places = tuple(place or "the network itself" for place in fault.places)
    return DoctorFinding(one.name, severity, places, fault.found, one.why, one.source, one.fix)


def _kinds(one: Rule) -> str:
    return " or ".join(kind.__name__.strip("_") for kind in one.only_with).replace("BatchNorm", "batch norm")


def _several(optimizer: Optimizer | Sequence[Optimizer] | None) -> tuple[Optimizer, ...] | None:
    if optimizer is None:
        return None
    return (optimizer,) if isinstance(optimizer, Optimizer) else tuple(optimizer)
