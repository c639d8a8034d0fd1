"""Does the preprocessing check find planted mistakes, does it stop where there is none, and what does it cost?

    python benchmarks/preprocessing_check.py [--only BACKBONE …] [--draws 200] [--images 64]

Real sets go through backbones whose stored statistics are true. Every image passes the stem once for each
preprocessing variant; a draw is a sample of these moments, judged by the code that the check itself runs. Planted
means: the pixels are made by a wrong variant while card and weights belong together; found means: the verdict is
`stop`, and the alternative is the card.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data.batches import pixel_batches
from headstart.data.image_set import scan
from headstart.data.images import ImageRules
from headstart.evaluation.intervals import wilson
from headstart.inspection.batch_norm.channel_moments import Array
from headstart.inspection.batch_norm.first_batch_norm import (
    FirstBatchNorm,
    StemResponse,
    first_batch_norm_of,
    stem_response,
)
from headstart.inspection.batch_norm.preprocessing_check import centre_crop, check_preprocessing, judge
from headstart.inspection.batch_norm.preprocessing_variants import PreprocessingVariant, variants_of
from machine import hardware
from record import Line, at_least, at_most, show, test_data, write

BACKBONES = {
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
    "cifar_resnet20": "cifar10_resnet20",
    "cifar_resnet56": "cifar10_resnet56",
    "embedded": "",
    "resnet18": "resnet18_imagenet",
}
TRUE = ("mobilenet_v2_035", "cifar_resnet20", "cifar_resnet56")
NOTES = {
    "embedded": "trained on drawn pictures without a colour of their own: red and blue cannot be told apart",
    "resnet18": "its statistics were taken from ants and bees, see the README of the weights",
}
SETS = ("hymenoptera", "rps28", "rps_photos", "cifar10_sample")
MOST_IMAGES = 800  # of a set: rps28 has 2892, hardly different ones
LEAST_FOUND, MOST_FALSE, MOST_SECONDS = 0.95, 0.01, 1.0


@dataclass(frozen=True)
class StemRun:
    """One set's images at the stem of one backbone, for each preprocessing variant."""

    first: FirstBatchNorm
    variants: tuple[PreprocessingVariant, ...]
    responses: dict[str, StemResponse]


def main() -> None:
    """Measure what was asked for, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(BACKBONES), default=list(BACKBONES))
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--images", type=int, default=64, help="in each draw")
    chosen = parser.parse_args()
    root, lines = test_data(), list[Line]()
    for name in chosen.only:
        weights = BACKBONES[name]
        backbone = load_backbone(name, weights=str(root / "weights" / f"{weights}.safetensors") if weights else None)
        for set_ in SETS:
            lines += set_lines(backbone, root / set_, chosen.draws, chosen.images)
        lines.append(seconds_line(backbone, chosen.images))
    write("preprocessing_check", lines, hardware=hardware())
    show(lines)


def set_lines(backbone: Backbone, folder: Path, draws: int, images: int) -> list[Line]:
    """False stops on the set as it is, then the share of draws in which each mistake is found."""
    stem = run_stem(backbone, folder)
    rng = np.random.default_rng(0)
    total = len(stem.responses["card"].mean)
    samples = [rng.permutation(total)[:images] for _ in range(draws)]
    lines = []
    for variant in stem.variants:
        response = stem.responses[variant.name]
        checks = [
            judge(stem.first, subset(response, sample), current=variant, variants=stem.variants, seed=0)
            for sample in samples
        ]
        correct = variant.name == "card"
        hits = sum(one.stops and (correct or one.alternative.variant == "card") for one in checks)
        verdicts = {verdict: sum(one.verdict == verdict for one in checks) for verdict in ("fine", "warning", "stop")}
        current, other = (median(getattr(one, name).misfit for one in checks) for name in ("current", "alternative"))
        what = f"{backbone.spec.name}, {folder.name}, {'as it is: stops' if correct else variant.name + ': found'}"
        note = f"misfit {current:.2f}, next {other:.2f}; {verdicts}"
        lines.append(line(what, hits, draws, backbone.spec.name, correct, note))
    return lines


def line(what: str, hits: int, draws: int, name: str, correct: bool, note: str) -> Line:
    """A share of draws with its interval; goals are for backbones with true statistics."""
    interval = wilson(hits, draws)
    goal, verdict = at_most(interval.value, MOST_FALSE) if correct else at_least(interval.value, LEAST_FOUND)
    if name not in TRUE:
        goal, verdict, note = "", "", f"{note}; {NOTES[name]}"
    shown = f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}] n {draws}"
    return Line("preprocessing_check", what, interval.value, shown, goal, verdict, note)


def run_stem(backbone: Backbone, folder: Path) -> StemRun:
    """The images of a set at the stem, batch by batch."""
    samples = scan(folder).samples
    chosen = np.random.default_rng(1).permutation(len(samples))[:MOST_IMAGES]
    paths = [samples[i].path for i in chosen]
    variants = variants_of(backbone.preprocess)
    responses: dict[str, list[StemResponse]] = {variant.name: [] for variant in variants}
    first: FirstBatchNorm | str = ""
    around: Array | None = None  # the first batch's mean colour, for all
    batches = pixel_batches(paths, backbone.preprocess.prepare, rules=ImageRules(), batch_size=64, workers=2)
    with torch.inference_mode():
        for batch in batches:
            prepared = centre_crop(batch.pixels)
            first = first_batch_norm_of(backbone.network, prepared.shape[-1]) if first == "" else first
            around = batch.pixels.float().mean((0, 2, 3)).double().numpy() / 255 if around is None else around
            assert isinstance(first, FirstBatchNorm)
            first = replace(first, known=backbone.spec.image_statistics)
            for variant in variants:
                responses[variant.name].append(
                    stem_response(first, variant, prepared, network=backbone.network, around=around)
                )
    assert isinstance(first, FirstBatchNorm)
    return StemRun(first, variants, {name: joined(batches) for name, batches in responses.items()})


def joined(responses: Sequence[StemResponse]) -> StemResponse:
    """Responses to the batches of a set as one."""
    return StemResponse(
        **{
            field.name: np.concatenate([getattr(one, field.name) for one in responses])
            for field in fields(StemResponse)
        }
    )


def subset(response: StemResponse, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> StemResponse:
    """Some of the images."""
    return StemResponse(**{field.name: getattr(response, field.name)[indices] for field in fields(StemResponse)})


def seconds_line(backbone: Backbone, images: int) -> Line:
    """What the whole check takes, median of seven runs."""
    side = backbone.preprocess.crop
    prepared = torch.randint(0, 256, (images, 3, side, side), dtype=torch.uint8)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        check_preprocessing(backbone, prepared)
        times.append(time.perf_counter() - began)
    seconds = median(times)
    goal, verdict = at_most(seconds, MOST_SECONDS, " s")
    what = f"{backbone.spec.name}, the check of {images} images"
    return Line("preprocessing_check", what, seconds, f"{seconds:.2f} s", goal, verdict)


if __name__ == "__main__":
    main()
