"""Does an exported file give its classifier's answers: networks of the catalogue, with their own or random weights?

    HEADSTART_TEST_DATA=… python benchmarks/export_parity.py [--only resnet18 …]

A head of random numbers on the last two stages makes probabilities that move with every feature; 64 photographs of ants
and bees and the 13 images that headstart draws go through both, each from the file on. Weights are those of the test
data or of installed packages; random ones (said in the row) exercise the graph, not the numbers of a trained network.
Networks that were measured today are left out unless `--only` names them, so that a second call goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from headstart.backbones.backbone import Backbone, build_backbone, load_backbone
from headstart.backbones.catalogue import SPECS
from headstart.classifier.card import Card
from headstart.classifier.classifier import Classifier
from headstart.errors import HeadstartError
from headstart.heads.head import Head
from headstart.onnx_export.classifier_onnx import build_onnx
from headstart.onnx_export.parity import measure_parity
from headstart.onnx_export.parity_images import odd_images
from machine import hardware
from record import Line, at_most, lines_of_today, show, test_data, write

IMAGES = 64
_FILES = {
    "resnet18": "resnet18_imagenet",
    "squeezenet1_0": "squeezenet1_0_imagenet",
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
    "cifar_resnet20": "cifar10_resnet20",
    "cifar_resnet56": "cifar10_resnet56",
}


def main() -> None:
    """Compare, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(SPECS))
    chosen, data = parser.parse_args(), test_data()
    measured = {line["what"].split(",")[0] for line in lines_of_today("export_parity")}
    photographs = sorted((data / "hymenoptera" / "val").glob("*/*"))
    images = {path.name: path for path in photographs[:: len(photographs) // IMAGES][:IMAGES]}
    for name in chosen.only or [name for name in SPECS if name not in measured]:
        try:
            backbone, kind = loaded(name, data / "weights")
        except HeadstartError as error:
            print(f"{name} is left out: {error.found}", flush=True)
            continue
        lines = [compared(name, backbone, kind, {**images, **odd_images()})]
        show(lines)
        write("export_parity", lines, hardware=hardware())


def loaded(name: str, weights: Path) -> tuple[Backbone, str]:
    """A backbone and whose weights it has."""
    if name in _FILES:
        return load_backbone(name, weights=str(weights / f"{_FILES[name]}.safetensors"), offline=True), "own"
    try:
        return load_backbone(name, offline=True), "own"
    except HeadstartError:
        return build_backbone(SPECS[name], seed=0, draws=True), "random"


def compared(name: str, backbone: Backbone, kind: str, images: dict[str, Path | bytes]) -> Line:
    """One row."""
    stages, rng = backbone.stages[-2:], np.random.default_rng(0)
    width = sum(backbone.spec.stage(stage).width for stage in stages)
    head = Head("ridge", stages, rng.normal(size=(width, 5)), rng.normal(size=5), temperature=1.0)
    classifier = Classifier(backbone, head, Card.of(backbone, head, tuple("abcde")))
    model = build_onnx(classifier)
    report = measure_parity(model, classifier, images)
    spread = np.std([row.expected_probabilities for row in report.rows], axis=0).max()
    megabytes = model.ByteSize() / 1e6
    note = (
        f"{backbone.preprocess.interpolation}, {len(report.rows)} images, same class {report.agreement:.0%}, "
        f"{len(report.ties)} ties, mean {report.mean:.5f}, pixels {report.pixels}, "
        f"spread over the images {spread:.3f}, {megabytes:.1f} MB"
    )
    if report.problems:
        note += f"; {' '.join(report.problems)}"
    return Line(
        "export_parity",
        f"{name}, {kind} weights: largest difference of a probability",
        report.largest,
        f"{report.largest:.4f}",
        *at_most(report.largest, report.tolerance),
        note,
    )


if __name__ == "__main__":
    main()
