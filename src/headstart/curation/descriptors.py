"""What a picture shows besides its subject: how the file was made, colours, border, rough shape, session.

In: images and what the audit knows of them. Out: for each family of descriptors a matrix N×d, columns standardised.
A network that sees no more than one of these should not tell the classes apart: where it can, that may be a shortcut.
`inside` is no family but what the border is compared with: the same numbers of a ring that lies just inside it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.dataset import Dataset
from headstart.data.image_index import SIGNATURE_SIDE, ImageFacts
from headstart.data.images import BadImage, open_image
from headstart.data.jpeg_header import JpegHeader, read_jpeg_header
from headstart.progress import OnProgress

Matrix = NDArray[np.float64]

SESSION_GAP = 3600.0
"""Seconds between two photographs of one camera after which another session begins: a walk, not a pause."""
_COLOURS, _BORDERED, _BLURRED = 4, 16, 8  # levels of each colour; sides of the pictures: for the border, the blurred
_WIDTH = 2  # of 16: the outer 12.5 % on each side
_NAMES = 20  # cameras and formats that get a column of their own
_DAY = 86_400.0
_TABLES = 2  # quantisation tables: luminance and colour; further ones repeat these


def cheap_descriptors(facts: Sequence[ImageFacts], names: Sequence[str]) -> dict[str, Matrix]:
    """Families that need no image opened: metadata, digits of the file's name, grey border, blurred grey picture.

    Args:
        facts: N. names: N.
    """
    grey = np.frombuffer(b"".join(fact.signature for fact in facts), dtype=np.uint8)
    grey = grey.reshape(len(facts), SIGNATURE_SIDE, SIGNATURE_SIDE, 1)
    return {
        "metadata": _standardised(_sizes(facts)),
        "file name": _standardised(_digits(names)),
        **_borders(grey),
        "blurred picture": _standardised(_squeezed(grey, _BLURRED).reshape(len(facts), -1)),
    }


def full_descriptors(dataset: Dataset, rows: Sequence[int], progress: OnProgress) -> dict[str, Matrix]:
    """All families of some images, each opened once; colours and session besides those of `cheap_descriptors`.

    Args:
        rows: n indices. progress: called with (images done, images).
    """
    samples, facts = [dataset.samples[i] for i in rows], [dataset.facts[i] for i in rows]
    headers = [read_jpeg_header(sample.path) for sample in samples]
    colours = np.zeros((len(rows), _COLOURS**3))
    pictures = np.zeros((len(rows), SIGNATURE_SIDE, SIGNATURE_SIDE, 3), dtype=np.uint8)
    for number, sample in enumerate(samples):
        try:
            rgb = open_image(sample.path, dataset.rules).rgb
        except BadImage:  # it could be read a moment ago: black, and the extraction of features names it
            continue
        small = Image.fromarray(rgb).resize((SIGNATURE_SIDE, SIGNATURE_SIDE), Image.Resampling.BOX)
        pictures[number] = np.asarray(small)
        step = max(1, min(rgb.shape[:2]) // 128)  # of more pixels than 128² the shares change by less than a hundredth
        levels = rgb[::step, ::step].reshape(-1, 3) // (256 // _COLOURS)
        counts = np.bincount(levels @ np.array([_COLOURS**2, _COLOURS, 1]), minlength=_COLOURS**3)
        colours[number] = counts / counts.sum()
        progress(number + 1, len(rows))
    return {
        "metadata": _standardised(np.concatenate([_sizes(facts), _made(headers)], axis=1)),
        "file name": _standardised(_digits([sample.name for sample in samples])),
        "colours": _standardised(np.sqrt(colours)),  # roots: a colour's variance does not grow with its share
        **_borders(pictures),
        "blurred picture": _standardised(_squeezed(pictures, _BLURRED).reshape(len(rows), -1)),
        "session": _standardised(_one_hot(sessions(headers))),
    }


def sessions(headers: Sequence[JpegHeader]) -> list[str]:
    """A name for each image's session: photographs of one camera without a gap of an hour; empty without a time."""
    named = [""] * len(headers)
    for camera in sorted({header.camera for header in headers if header.taken is not None}):
        timed = [(one.taken, i) for i, one in enumerate(headers) if one.camera == camera and one.taken is not None]
        number, last = 0, None
        for taken, i in sorted(timed):
            number += last is not None and taken - last > SESSION_GAP
            last = taken
            named[i] = f"{camera} #{number}"
    return named


def _sizes(facts: Sequence[ImageFacts]) -> Matrix:
    """Width, height, their logarithms' sum and difference, and formats and modes as columns of 0 and 1."""
    sides = np.array([[max(fact.width, 1), max(fact.height, 1)] for fact in facts], dtype=np.float64)
    logs = np.log(sides)
    numbers = np.concatenate([sides, logs.sum(axis=1, keepdims=True), np.diff(logs, axis=1)], axis=1)
    return np.concatenate([numbers, _one_hot([f"{fact.format} {fact.mode}" for fact in facts])], axis=1)


def _digits(names: Sequence[str]) -> Matrix:
    """Of the file's own name: how many digits, the logarithm of its last number, its length.

    Its folders are left out: they are the label.
    """
    rows = []
    for name in names:
        file = name.rpartition("/")[2].rpartition(".")[0]
        numbers = re.findall(r"\d+", file)
        last = float(numbers[-1][:15]) if numbers else 0.0
        rows.append([sum(map(len, numbers)), np.log1p(last), len(file), float(bool(numbers))])
    return np.array(rows, dtype=np.float64).reshape(len(names), 4)


def _made(headers: Sequence[JpegHeader]) -> Matrix:
    """Quantisation tables, cameras as columns of 0 and 1, and the hour on its circle."""
    rows = []
    for header in headers:
        tables = [*header.quantisation[:_TABLES], *[0.0] * _TABLES][:_TABLES]
        angle = None if header.taken is None else 2 * np.pi * (header.taken % _DAY) / _DAY
        hour = [0.0, 0.0, 0.0] if angle is None else [1.0, np.sin(angle), np.cos(angle)]
        rows.append([*np.log1p(tables), float(len(header.quantisation)), *hour])
    return np.concatenate([np.array(rows), _one_hot([header.camera for header in headers])], axis=1)


def _one_hot(values: Sequence[str]) -> Matrix:
    """A column for each of the most frequent values that occur twice; the others share none."""
    frequent = [value for value, count in Counter(values).most_common(_NAMES) if count > 1 and value]
    return np.array([[float(value == one) for one in frequent] for value in values]).reshape(len(values), len(frequent))


def _squeezed(pictures: NDArray[np.uint8], side: int) -> Matrix:
    """N×S×S×c → N×side×side×c, means of blocks, 0 to 1."""
    count, big, _, channels = pictures.shape
    block = big // side
    blocks = pictures.reshape(count, side, block, side, block, channels).astype(np.float64)
    means: Matrix = blocks.mean(axis=(2, 4)) / 255
    return means


def _borders(pictures: NDArray[np.uint8]) -> dict[str, Matrix]:
    """N×S×S×c → the border, and the ring inside it."""
    small = _squeezed(pictures, _BORDERED)
    inner = small[:, _WIDTH:-_WIDTH, _WIDTH:-_WIDTH]
    return {"border": _standardised(_ring(small)), "inside": _standardised(_ring(inner))}


def _ring(pictures: Matrix) -> Matrix:
    """N×S×S×c → of the outermost pixels: median of each side, mean of each corner; N×8c.

    Medians, because a subject that reaches over less than half of a side leaves them as they are. Not how much they
    vary: that told a class of stripes from discs on a plain ground.
    """
    count, channels = len(pictures), pictures.shape[3]
    first, last = slice(0, _WIDTH), slice(-_WIDTH, None)
    sides = [pictures[:, first], pictures[:, last], pictures[:, :, first], pictures[:, :, last]]
    medians = [np.median(side.reshape(count, -1, channels), axis=1) for side in sides]
    corners = [pictures[:, rows, columns].mean(axis=(1, 2)) for rows in (first, last) for columns in (first, last)]
    return np.concatenate([*medians, *corners], axis=1)


def _standardised(x: Matrix) -> Matrix:
    """Columns with mean 0 and variance 1, constant ones left out."""
    spread = x.std(axis=0)
    varies = spread > 1e-9  # of numbers of order 1: rounding
    return np.asarray((x[:, varies] - x[:, varies].mean(axis=0)) / spread[varies])
