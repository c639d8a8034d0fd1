"""Draw the pictures of docs/inside.md again, and print the numbers in it, from the real images and weights.

    HEADSTART_TEST_DATA=… python docs/make_inside_pictures.py [--only drift check residual change] [--runs PROBE FULL]

`change` trains a resnet18 on ants and bees twice first, minutes on two cores, unless the folders of two runs are named.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.classifier.classifier import Classifier
from headstart.data.batches import pixel_batches
from headstart.data.image_set import Sample, scan
from headstart.data.images import ImageRules
from headstart.datasets.hands import draw_hands
from headstart.inspection.batch_norm.drift import batch_norm_drift
from headstart.inspection.batch_norm.preprocessing_check import check_preprocessing
from headstart.inspection.batch_norm.preprocessing_variants import variants_of
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspection_result import InspectionResult
from headstart.inspection.residual.blocks import ResidualAnalysis, residual_blocks
from headstart.inspection.residual.change import compare_residuals
from headstart.recipe import Recipe
from headstart.workbench.train import train

PICTURES = Path(__file__).parent / "pictures"
WEIGHTS = {
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
    "cifar_resnet20": "cifar10_resnet20",
    "cifar_resnet56": "cifar10_resnet56",
    "resnet18": "resnet18_imagenet",
}


def main() -> None:
    """Make what was asked for."""
    makers: dict[str, Callable[[Path], None]] = {"drift": drift, "check": check, "residual": residual, "change": change}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(makers), default=list(makers))
    parser.add_argument("--runs", nargs=2, type=Path, default=())
    named = os.environ.get("HEADSTART_TEST_DATA")
    if not named:
        sys.exit("set HEADSTART_TEST_DATA to the folder with the real images and weights")
    chosen = parser.parse_args()
    makers["change"] = lambda root: change(root, chosen.runs)
    for name in chosen.only:
        makers[name](Path(named))


def drift(root: Path) -> None:
    """Batch-norm drift of a network with true statistics on photographs, real hands and drawn hands."""
    backbone = load(root, "mobilenet_v2_035")
    with tempfile.TemporaryDirectory() as folder:
        hands = draw_hands(Path(folder) / "hands", train_per_class=50, test_per_class=1)
        for name, source in (("photographs", root / "hymenoptera"), ("hands", root / "rps_photos"), ("drawn", hands)):
            show(batch_norm_drift(backbone, load_images(backbone, source, 150)), f"inside_drift_{name}.jpg")


def check(root: Path) -> None:
    """The preprocessing check with red and blue swapped."""
    backbone = load(root, "mobilenet_v2_035")
    images = load_images(backbone, root / "hymenoptera", 64)
    assert images.prepared is not None
    swapped = next(one for one in variants_of(backbone.preprocess) if one.name == "bgr")
    seen = swapped.apply(images.prepared)
    show(check_preprocessing(backbone, images.prepared, pixels=seen), "inside_preprocessing.png")


def residual(root: Path) -> None:
    """The residual analysis of the two CIFAR networks on all 500 images."""
    for layers in (20, 56):
        backbone = load(root, f"cifar_resnet{layers}")
        analysis = residual_blocks(backbone, load_images(backbone, root / "cifar10_sample", 500))
        show(analysis, f"inside_residual_cifar{layers}.png")


def change(root: Path, runs: Sequence[Path] = ()) -> None:
    """The residual analysis of resnet18 on the test images of ants and bees, before and after fine-tuning."""
    with tempfile.TemporaryDirectory() as folder:
        files = [run / "classifier.safetensors" for run in runs or trained(root, Path(folder))]
        before, after = (
            analyse_bees(root, Classifier.load(file), first) for file, first in zip(files, (True, False), strict=True)
        )
    show(before, "inside_residual_resnet18.png")
    show(compare_residuals(before, after), "inside_residual_change.png")


def trained(root: Path, folder: Path) -> list[Path]:
    """Two runs on ants and bees: the head alone, and all stages."""
    weights = str(weights_of(root, "resnet18"))
    strategies = ("probe", "probe-then-full")
    recipes = [Recipe(backbone="resnet18", weights=weights, strategy=strategy) for strategy in strategies]
    return [train(root / "hymenoptera", out=folder / one.strategy, recipe=one).folder for one in recipes]


def analyse_bees(root: Path, classifier: Classifier, ablation: bool) -> ResidualAnalysis:
    """All 153 images that were kept from training."""
    images = load_images(classifier.backbone, root / "hymenoptera", 0, split="val")
    return residual_blocks(classifier, images, ablation=ablation)


def load(root: Path, name: str) -> Backbone:
    """A backbone with the shared weights."""
    return load_backbone(name, weights=str(weights_of(root, name)))


def weights_of(root: Path, name: str) -> Path:
    """The file with its weights."""
    return root / "weights" / f"{WEIGHTS[name]}.safetensors"


def load_images(backbone: Backbone, folder: Path, count: int, split: str = "") -> InspectedImages:
    """So many images drawn from a folder (0: all), labelled with its classes in the order of their names."""
    samples = [one for one in scan(folder).samples if not split or one.path.parts[-3] == split]
    drawn = sorted(np.random.default_rng(0).permutation(len(samples))[: count or None])
    return images_of([samples[i] for i in drawn], backbone)


def images_of(samples: list[Sample], backbone: Backbone) -> InspectedImages:
    """Images as the backbone sees them."""
    classes = tuple(sorted({one.label or "" for one in samples}))
    paths = [one.path for one in samples]
    batches = pixel_batches(paths, backbone.preprocess.prepare, rules=ImageRules(), batch_size=32, workers=2)
    prepared = torch.cat([batch.pixels for batch in batches])
    labels = torch.tensor([classes.index(one.label or "") for one in samples])
    names = tuple(one.name for one in samples)
    return InspectedImages(backbone.preprocess.normalise(prepared), names, prepared, labels, classes, tuple(paths))


def show(result: InspectionResult, name: str) -> None:
    """Print all of it, and keep its figure small."""
    print(f"\n{result}\n{name}: {result.description}", flush=True)
    save(result.figure(), PICTURES / name)


def save(figure: Figure, path: Path) -> None:
    """With photographs as JPEG, else as PNG of few colours, which is smaller and sharper."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    drawn = Image.open(buffer).convert("RGB")
    if path.suffix == ".jpg":
        drawn.save(path, quality=82)
    else:
        drawn.quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    main()
