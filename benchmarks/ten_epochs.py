"""From file bytes to a solved head against ten epochs of the textbook loop: processor time, and accuracy, side by side.

    HEADSTART_TEST_DATA=… python benchmarks/ten_epochs.py [--images 244]

Ants and bees, one thread. The textbook trains a resnet18 under a new top for ten epochs; headstart hashes, decodes,
runs the frozen network in the given precision and solves its head, int8 with its calibration. Exports and measurements
of engines are there already, as from the second run on. Both are tested on the same 153 photographs, used for nothing
else.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bytes_to_head import Photographs, bytes_to_head, choose_photographs, solve
from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data.images import ImageRules, open_image
from headstart.engines.choose import choose_engine
from headstart.engines.int8 import CALIBRATION_IMAGES, CalibrationImages, quantize
from headstart.engines.onnxruntime_engine import export_path
from headstart.evaluation.intervals import share_interval
from headstart.features.cache import FeatureCache
from headstart.features.extract import ImageFiles, extract_features, open_store
from machine import hardware
from record import Line, Spent, at_least, show, spending, test_data, write
from textbook import textbook_images, train_textbook

EPOCHS = 10
RIVALS = {("resnet18", "float32"): 18.0, ("resnet18", "int8"): 35.0, ("efficientnet_lite0", "int8"): 60.0}
"""Network and precision → how many times less processor time was aimed at."""


def main() -> None:
    """Run everything once, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=244, help="photographs to train on")
    chosen, data = parser.parse_args(), test_data()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        photographs = choose_photographs(data, Path(folder), chosen.images)
        tests = sorted((data / "hymenoptera" / "val").glob("*/*"))
        jobs = {rival: ours(photographs, tests, *rival, Path(folder) / "-".join(rival)) for rival in RIVALS}
        spent, network = train_textbook(photographs.folder, photographs.weights, epochs=EPOCHS)
        theirs = correct_of(network, data / "hymenoptera" / "val")
    what = f"textbook, resnet18, ten epochs, {len(photographs.paths)} photographs"
    lines = [Line("ten_epochs", what, spent.cpu, f"{spent.cpu:.1f} CPU s", note=accuracy(theirs))]
    for (name, precision), (parts, correct) in jobs.items():
        cpu = sum(part.cpu for part in parts.values())
        goal, verdict = at_least(spent.cpu / cpu, RIVALS[name, precision])
        steps = ", ".join(f"{step} {part.cpu:.2f}" for step, part in parts.items())
        note = f"{cpu:.2f} CPU s ({steps}); {accuracy(correct)}"
        what = f"textbook over headstart, {name} {precision}"
        lines.append(Line("ten_epochs", what, spent.cpu / cpu, f"{spent.cpu / cpu:.1f} times", goal, verdict, note))
    show(lines)
    write("ten_epochs", lines, hardware=hardware())


# what is trained on, what is tested on, network, precision, where files go
def ours(
    photographs: Photographs, tests: list[Path], name: str, precision: str, work: Path
) -> tuple[dict[str, Spent], np.ndarray[Any, Any]]:
    """Processor seconds of each step, and which test images were correct; a first run makes the exports."""
    weights = str(photographs.weights) if name == "resnet18" else None
    parts: dict[str, Spent] = {}
    for _ in range(2):
        shutil.rmtree(work / "features", ignore_errors=True)
        backbone, parts = load_backbone(name, weights=weights, offline=True), {}
        if precision == "int8":
            for quantised in {*(work / "onnx").glob("*.onnx")} - {export_path(backbone, work)}:
                quantised.unlink()  # calibrated again: only the float32 export was there
            with spending() as parts["calibrate"]:
                backbone = in_int8(backbone, photographs, work)
        parts |= bytes_to_head(photographs, backbone, work, workers=1)
        del parts["whole"]
    return parts, tested(photographs, tests, backbone, work)


def in_int8(backbone: Backbone, photographs: Photographs, work: Path) -> Backbone:
    """Quantised with training images, as `train --precision int8` does."""
    order = np.random.default_rng(0).permutation(len(photographs.paths))[:CALIBRATION_IMAGES]
    paths, preprocess = [photographs.paths[i] for i in sorted(order)], backbone.preprocess

    def read() -> torch.Tensor:
        prepared = [preprocess.prepare(open_image(path, ImageRules()).rgb) for path in paths]
        return preprocess.normalise(torch.stack(prepared))

    contents = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return quantize(backbone, CalibrationImages(contents, read), cache_folder=work)


def tested(photographs: Photographs, tests: list[Path], backbone: Backbone, work: Path) -> np.ndarray[Any, Any]:
    """Whether each test image is classified correctly by the head on the training photographs."""
    paths = (*photographs.paths, *tests)
    contents = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    files = ImageFiles(paths, tuple(map(str, paths)), contents, ImageRules())
    engine = choose_engine(backbone, waiting=len(tests), cache_folder=work)
    store = open_store(FeatureCache(work / "features", 1e10), backbone, files.rules)
    features, _ = extract_features(files, backbone, engine, store)
    labels = np.array(photographs.labels)
    rows = np.arange(len(photographs.paths), len(paths))
    train = type(features)(features.matrix[: len(labels)], features.slices, files.names[: len(labels)], contents)
    head = solve(train, labels, {"auto": backbone.spec.choose_stages("auto")}).head
    names = sorted({path.parent.name for path in photographs.paths})
    found = head.probabilities_of(features.view(rows, head.stages)).argmax(axis=1)
    return np.asarray(found == [names.index(path.parent.name) for path in tests])


def correct_of(network: torch.nn.Module, folder: Path) -> np.ndarray[Any, Any]:
    """Whether the textbook's network classifies each image of a folder correctly."""
    network.eval()
    with torch.inference_mode():
        found = [int(network(pixels[None]).argmax()) == label for pixels, label in textbook_images(folder)]
    return np.array(found)


def accuracy(correct: np.ndarray[Any, Any]) -> str:
    """With Wilson's interval."""
    one = share_interval(correct)
    return f"accuracy {one.value:.3f} [{one.low:.3f}, {one.high:.3f}] n {len(correct)}"


if __name__ == "__main__":
    main()
