"""The static page of a classifier: what lies beside the model so that any browser runs it from any static host."""

from __future__ import annotations

import json
from pathlib import Path

from headstart.classifier.classifier import Classifier

INDEX = "index.html"
FACTS = "classifier.json"
_FOLDER = Path(__file__).parent / "page"
_OWN = (INDEX, "page.js", "page.css")


def page_files(classifier: Classifier) -> dict[str, bytes]:
    """Name → content of the page's own files, the index last; the model and onnxruntime-web's files are not among them.

    `classifier.json` has what the page must know of the classifier: a browser cannot read the model's metadata.
    """
    known = classifier.familiarity
    facts = {
        "classes": list(classifier.classes),
        "background": list(classifier.card.background),
        "threshold": None if known is None else known.threshold,
    }
    own = {name: (_FOLDER / name).read_bytes() for name in reversed(_OWN)}
    return {FACTS: json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False).encode(), **own}
