"""Model card: what is known of a run by measurement, in the sections of Mitchell et al. 2019, as Markdown for people.

What was not measured (intended use, ethics) is not invented: the card says that it is not stated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.evaluation.evaluation import Evaluation
from headstart.evaluation.intervals import Interval
from headstart.wording import counted, percent

MOST_CLASSES = 100  # rows of a table that people still read
_NOT_STATED = "*Not stated. headstart writes what it measured; this is for whoever publishes the model.*"
_LICENCES = {  # how a licence is written on a weight file → its name on the hub; the first that fits
    "apache-2.0": r"apache[- ]?2",
    "bsd-3-clause": r"bsd-?3",
    "bsd-2-clause": r"bsd-?2",
    "mit": r"\bmit\b",
    "cc0-1.0": r"\bcc0",
    "cc-by-4.0": r"\bcc[- ]by[- ]4",
}
_NOT_FOR_ALL = {"cc-by-nc-4.0": r"cc[- ]by[- ]nc[- ]4(\.0)?", "cc-by-nc-sa-4.0": r"cc[- ]by[- ]nc[- ]sa[- ]4(\.0)?"}
_RESTRICTED = re.compile(
    r"\bnc\b|non-?commercial|research[- ]only|not stated|unknown|\?|see its package", re.IGNORECASE
)


def licence_id(licence: str) -> str:
    """The hub's name of a licence, as the weights' source states it; `other`: several, none, or an unknown one."""
    if not is_permissive(licence):
        named = (
            name for name, pattern in _NOT_FOR_ALL.items() if re.fullmatch(pattern, licence.strip(), re.IGNORECASE)
        )
        return next(named, "other")
    return next(name for name, pattern in _LICENCES.items() if re.search(pattern, licence, re.IGNORECASE))


def is_permissive(licence: str) -> bool:
    """Whether every part of a stated licence is a known one that allows the weights to be passed on."""
    parts = [part for part in licence.split(";") if part.strip()]
    named = [part for part in parts if any(re.search(each, part, re.IGNORECASE) for each in _LICENCES.values())]
    return bool(named) and named[0] is parts[0] and not _RESTRICTED.search(licence)


def model_card(evaluation: Evaluation, record: Mapping[str, Any], *, name: str, hub: bool = True) -> str:
    """The card of a run.

    Args:
        record: run.json. name: of the model. hub: whether YAML with licence and model-index comes first.
    """
    data, backbone = record["data"], record["backbone"]
    classes = ", ".join(map(_code, _few(evaluation.classes)))
    sections = {
        "Model details": _details(record, backbone),
        "Intended use": f"Images of one of the classes {classes}.\n\n{_NOT_STATED}",
        "Factors": _factors(evaluation),
        "Metrics": _metrics(evaluation),
        "Evaluation data": _evaluation_data(data),
        "Training data": _training_data(data, record.get("findings", ())),
        "Quantitative analyses": _analyses(evaluation),
        "Ethical considerations": _NOT_STATED,
        "Caveats and recommendations": _caveats(evaluation, record.get("trust") or {}),
    }
    blocks = [f"# Model card: {_text(name)}", *(f"## {title}\n\n{text}" for title, text in sections.items())]
    front = _front_matter(evaluation, record, name) if hub else ""
    return front + "\n\n".join(blocks) + "\n"


def _front_matter(evaluation: Evaluation, record: Mapping[str, Any], name: str) -> str:
    """YAML that the hub reads; written as JSON, of which every line is YAML too."""
    data, accuracy = record["data"], stated_accuracy(evaluation)
    task = {"type": "image-classification"}
    metrics = [
        {
            "type": "accuracy",
            "value": accuracy.value,
            "name": f"accuracy, 95 % interval {_ends(accuracy)}, n {accuracy.n}",
        }
    ]
    dataset = {"name": str(data["name"]), "type": "private"}
    values = {
        "license": licence_id(str(record["backbone"].get("licence", ""))),
        "library_name": "headstart",
        "pipeline_tag": "image-classification",
        "tags": ["headstart", "image-classification", "transfer-learning"],
        "model-index": [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}],
    }
    lines = [f"{key}: {json.dumps(value, allow_nan=False)}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---", "", ""])


def _details(record: Mapping[str, Any], backbone: Mapping[str, Any]) -> str:
    head, versions = record.get("head", {}), record.get("versions", {})
    rows = [
        ("Backbone", f"{_code(backbone.get('name', '?'))}: {_text(backbone.get('source', 'not recorded'))}"),
        ("Licence of the weights", _text(backbone.get("licence", "not recorded"))),
        ("SHA-256 of the weights' tensors, not of their file", _code(backbone.get("sha256") or "not recorded")),
        ("Head", f"{_text(head.get('kind', '?'))} on {_text(', '.join(map(str, head.get('stages', ()))))}"),
        ("Fine-tuning", _text((record.get("fine_tuning") or record.get("tuning") or {}).get("strategy", "none"))),
        ("Made", f"{_text(record.get('created', '?'))} with headstart {_text(versions.get('headstart', '?'))}"),
    ]
    return _table(("", ""), rows)


def _factors(e: Evaluation) -> str:
    groups = (
        f"Test images come in {counted(e.groups, 'group')} that are not independent; all intervals allow for them."
        if e.groups
        else "Each test image counts as independent: among them no groups were found or given."
    )
    return f"Measured for each class (below). Nothing was measured by camera, place, time or person.\n\n{groups}"


def stated_accuracy(e: Evaluation) -> Interval:
    """With the interval that allows for groups, where there are some: a card has no second line that says so."""
    return e.accuracy_over_groups or e.accuracy


def _metrics(e: Evaluation) -> str:
    accuracy = stated_accuracy(e)
    rows = [
        ("Accuracy", str(accuracy), f"{accuracy.n:,}", accuracy.method),
        ("Balanced accuracy", str(e.balanced_accuracy), f"{e.balanced_accuracy.n:,}", e.balanced_accuracy.method),
        ("Expected calibration error", str(e.calibration.ece), f"{e.calibration.ece.n:,}", e.calibration.ece.method),
    ]
    if e.without_leaks is not None and e.leaked:
        rows.insert(1, ("Accuracy without leaked images", str(e.without_leaks), f"{e.without_leaks.n:,}", "the same"))
    rows += [(f"Baseline {_text(b.name)}", str(b.accuracy), f"{b.accuracy.n:,}", _text(b.about)) for b in e.baselines]
    return _table(("metric", "value with its 95 % interval", "n", "how"), rows)


def _evaluation_data(data: Mapping[str, Any]) -> str:
    return f"{_text(data.get('protocol', 'Not recorded.'))}\n\n{_counts(data, 'test')}"


def _training_data(data: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> str:
    images, name = data.get("images"), _code(data.get("name", "?"))
    total = f"Of the {images:,} images" if isinstance(images, int) else "Images"
    lines = [f"{total} of the set {name}, fingerprint {_code(data.get('fingerprint', '?'))}:", _counts(data, "train")]
    found = [f"- {_text(finding.get('message', ''))}" for finding in findings]
    lines.append("Found, or done since:\n\n" + "\n".join(found) if found else "The audit found nothing.")
    return "\n\n".join(lines)


def _counts(data: Mapping[str, Any], split: str) -> str:
    counts = data.get("counts", {}).get(split, {})
    rows = [(_text(name), f"{count:,}") for name, count in list(counts.items())[:MOST_CLASSES]]
    return _table(("class", "images"), rows) if rows else "Not recorded."


def _analyses(e: Evaluation) -> str:
    worst_first = sorted(e.per_class, key=lambda score: score.recall.value)[:MOST_CLASSES]
    rows = [
        (
            _text(score.name),
            f"{score.support:,}",
            str(score.recall),
            "not measured" if score.precision is None else percent(score.precision),
        )
        for score in worst_first
    ]
    left = len(e.per_class) - len(rows)
    note = f"\n\n{left} more classes are in run.json." if left else ""
    table = _table(("class, lowest recall first", "test images", "recall", "precision"), rows)
    return f"{table}{note}\n\nIntersections of factors were not measured."


def _caveats(e: Evaluation, trust: Mapping[str, Any]) -> str:
    floor = e.calibration.noise_floor
    lines = [
        f"The accuracy rests on {counted(e.accuracy.n, 'test image')} of the same source as the training images; on "
        "images of another camera or place it may be lower, and was not measured.",
        f"A perfectly calibrated model would show a calibration error of {percent(floor.mean)} on a test set of this "
        "size.",
    ]
    if e.leaked:
        lines.append(f"{counted(e.leaked, 'test image')} also appear in the training set.")
    for baseline in e.baselines:
        if baseline.is_beaten is False:
            lines.append(
                f"It is not measurably better than the baseline {_text(baseline.name)} ({baseline.comparison})."
            )
    if trust.get("no_sets"):
        lines.append(f"It has no prediction sets: {_text(trust['no_sets'])}.")
    return "\n".join(f"- {line}" for line in lines)


def _ends(interval: Interval) -> str:
    return f"[{interval.low:.4f}, {interval.high:.4f}]"


def _few(names: Sequence[str]) -> list[str]:
    return [*names[:20], *(["…"] if len(names) > 20 else [])]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: object) -> str:
    """Words from outside, as text: no Markdown, no HTML, one line."""
    one_line = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", one_line).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _code(value: object) -> str:
    """Words from outside as code; those that could end it or a cell of a table are shown as text."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return _text(text) if re.search(r"[`|]", text) or not text else f"`{text}`"
