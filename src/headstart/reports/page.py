"""Page: one HTML file without network or script, filled in from a template of this folder; whole or not at all."""

from __future__ import annotations

import functools
import re
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from headstart.errors import shown
from headstart.files import FOR_RUN, write_text
from headstart.reports.interpretation import ends
from headstart.wording import NBSP, counted, duration, percent

ABBREVIATIONS = {
    "kNN": "k nearest neighbours: the class that most of the k most similar training images have",
    "F1": "F1 score: harmonic mean of precision and recall",
    "ECE": "expected calibration error: mean gap between confidence and accuracy",
    "LOO": "leave-one-out: each image is scored by a head that was not trained on it",
    "TTA": "test-time augmentation: the mean score of an image and its changed versions",
    "MAC": "multiply-accumulate operation: one multiplication and one addition",
    "MACs": "multiply-accumulate operations: one multiplication and one addition each",
    "GMAC": "10⁹ multiply-accumulate operations",
    "GFLOP": "10⁹ floating-point operations",
    "CKA": "centred kernel alignment: how similar two layers describe the images, 0 to 1",
    "PCA": "principal component analysis: the directions in which features vary most",
    "UMAP": "uniform manifold approximation and projection: a map on which similar images lie close",
    "SVD": "singular value decomposition",
    "ReLU": "rectified linear unit: negative values become zero",
    "GELU": "Gaussian error linear unit: a smooth ReLU",
    "CAM": "class activation map: where in the image the evidence for a class lies",
    "Grad-CAM": "gradient-weighted class activation map: where in the image the evidence for a class lies",
    "SGD": "stochastic gradient descent",
    "AUC": "area under the curve",
    "ROC": "receiver operating characteristic",
    "RGB": "red, green and blue",
    "EXIF": "exchangeable image file format: what a camera writes beside the pixels",
    "CPU": "central processing unit",
    "GPU": "graphics processing unit",
    "ONNX": "Open Neural Network Exchange, a file format for networks",
    "SHA-256": "secure hash algorithm, 256 bits: a fingerprint of bytes",
    "std": "standard deviation",
    "px": "pixels",
}
"""Abbreviation → what it stands for, in the form in which pages write it."""

_WORD = re.compile(
    r"(?<![\w./-])(" + "|".join(sorted(map(re.escape, ABBREVIATIONS), key=len, reverse=True)) + r")(?![\w-])"
)
_TAG = re.compile(r"<(/?)([a-zA-Z0-9]+)[^>]*>|<![^>]*>")
# not words of a page: programs and figures, what a user named, and what is explained already
_SKIPPED = frozenset(("style", "script", "title", "svg", "code", "bdi", "abbr"))


def write_page(path: Path, template: str, view: dict[str, object]) -> Path:
    """Fill in a template and write it; every text from outside is escaped, its control characters shown.

    Args:
        template: its name, such as `report.html`. view: everything that it names; `style` is added.

    Raises:
        RunError: the file cannot be written there.
    """
    text = _template(template).render(**view, style=Markup(_file("tokens.css") + _file("report.css")))
    write_text(path, explain_abbreviations(text), expected="a page that can be written", hint=FOR_RUN)
    return path


@functools.cache  # compiling it takes as long as drawing a figure
def _template(name: str) -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _safe
    environment.filters |= {"percent": percent, "ends": ends, "duration": duration, "counted": counted}
    return environment.from_string(_file("macros.html") + _file(name))


def _safe(value: object) -> object:
    """Every text that is filled in passes here: a name from outside cannot turn the page's writing direction."""
    if type(value) is not str or value.isprintable():  # numbers, and Markup, which headstart made itself
        return value
    return NBSP.join(shown(words) for words in value.split(NBSP))


def _file(name: str) -> str:
    return resources.files("headstart.reports").joinpath(name).read_text(encoding="utf-8")


def explain_abbreviations(page: str) -> str:
    """The page with the first use of each abbreviation in its text explained."""
    known, parts, position, skipped = set[str](), [], 0, list[str]()
    for tag in _TAG.finditer(page):
        text = page[position : tag.start()]
        parts += [text if skipped else _explained(text, known), tag[0]]
        position = tag.end()
        name = (tag[2] or "").lower()
        if name in _SKIPPED:
            if not tag[1]:
                skipped.append(name)
            elif name in skipped:
                del skipped[len(skipped) - 1 - skipped[::-1].index(name) :]
    return "".join([*parts, page[position:]])


def _explained(text: str, known: set[str]) -> str:
    def one(found: re.Match[str]) -> str:
        word = found[1]
        if word in known:
            return word
        known.add(word)
        return f'<abbr title="{escape(ABBREVIATIONS[word])}">{word}</abbr>'

    return _WORD.sub(one, text) if text.strip() else text
