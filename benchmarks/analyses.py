"""What does an analysis of a network cost, against one plain forward pass over the same pixels?

    python benchmarks/analyses.py [--images 150] [--times 3] [--only ANALYSIS …]

The plain pass is the network in eval mode under inference mode, 32 images at a time. Runs take turns; what counts is
the median of the ratios of CPU seconds within a turn, so that a busy machine hits both alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data.batches import pixel_batches
from headstart.data.image_set import scan
from headstart.data.images import ImageRules
from headstart.inspection.batch_norm.drift import batch_norm_drift
from headstart.inspection.batch_norm.preprocessing_check import check_preprocessing
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.residual.blocks import residual_blocks
from machine import hardware
from record import Line, at_most, peak_mb, show, spending, test_data, write

MOST_TIMES, MOST_MB = 2.5, 400.0
ANALYSES: dict[str, Callable[[Backbone, InspectedImages], object]] = {
    "batch-norm drift": batch_norm_drift,
    "preprocessing check": lambda backbone, images: check_preprocessing(backbone, images.prepared),
    "residual analysis without ablation": lambda backbone, images: residual_blocks(backbone, images, ablation=False),
    "residual analysis, 8 blocks left out": residual_blocks,
}
WITHOUT_GOAL = {"residual analysis, 8 blocks left out": "one pass for each block by definition"}


def main() -> None:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=tuple(ANALYSES), default=list(ANALYSES))
    chosen = parser.parse_args()
    weights = test_data() / "weights" / "resnet18_imagenet.safetensors"
    backbone = load_backbone("resnet18", weights=str(weights))
    images = ants_and_bees(backbone, chosen.images)
    plain(backbone, images)
    lines = []
    for name in chosen.only:
        lines.append(analysis_line(name, backbone, images, chosen.times))
        write("analyses", lines, hardware=hardware())
    show(lines)


def analysis_line(name: str, backbone: Backbone, images: InspectedImages, times: int) -> Line:
    """Median ratio of an analysis to the plain pass, and the memory it adds to the peak."""
    ratios, before = [], peak_mb()
    for _ in range(times):
        forward = seconds(lambda: plain(backbone, images))
        ratios.append(seconds(lambda: ANALYSES[name](backbone, images)) / forward)
    ratio = median(ratios)
    goal, verdict = at_most(ratio, MOST_TIMES, " passes") if name not in WITHOUT_GOAL else ("", "")
    note = f"{min(ratios):.2f} to {max(ratios):.2f} in {times} turns; last plain pass {forward:.1f} CPU s"
    note = f"{note}; peak +{peak_mb() - before:.0f} MB; {WITHOUT_GOAL.get(name, '')}".rstrip("; ")
    return Line(
        "analyses", f"{name}, resnet18, {len(images)} images", ratio, f"{ratio:.2f} passes", goal, verdict, note
    )


def plain(backbone: Backbone, images: InspectedImages) -> None:
    """One forward pass and nothing else."""
    with torch.inference_mode():
        for pixels in images.batches():
            backbone.network(pixels)


def seconds(work: Callable[[], object]) -> float:
    """Of processors: the clock would count who else is on the machine."""
    with spending() as spent:
        work()
    return spent.cpu


def ants_and_bees(backbone: Backbone, count: int) -> InspectedImages:
    """So many of the real photographs, drawn."""
    samples = scan(test_data() / "hymenoptera").samples
    paths = [samples[i].path for i in np.random.default_rng(0).permutation(len(samples))[:count]]
    batches = pixel_batches(paths, backbone.preprocess.prepare, rules=ImageRules(), batch_size=32, workers=2)
    prepared = torch.cat([batch.pixels for batch in batches])
    return InspectedImages(backbone.preprocess.normalise(prepared), tuple(path.name for path in paths), prepared)


if __name__ == "__main__":
    main()
