"""Make the figures and numbers of docs/inside_views.md from the real images and weights of the tests.

HEADSTART_TEST_DATA=FOLDER python docs/make_view_pictures.py [FOLDER FOR PHOTOGRAPHS]     (about ten minutes)

Photographs in docs/pictures are of the rock-paper-scissors set (Mavi, Sign Language Digits, Apache 2.0). The ants and
bees have no licence: their explanations are drawn only where a folder is named. Interpretations are printed.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data.images import open_image
from headstart.inspection.attribution.explanation import Explanation
from headstart.inspection.features.embedding import embedding
from headstart.inspection.features.feature_maps import feature_maps
from headstart.inspection.features.similarity import similarity
from headstart.inspection.gradients.correlation import gradient_correlation
from headstart.inspection.gradients.flow import GradientFlow, gradient_flow
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspection_result import InspectionResult
from headstart.inspection.weights.filters import filters
from headstart.inspection.weights.line import weight_line
from headstart.inspection.weights.plane import weight_plane
from headstart.training.stepbystep import StepByStep
from headstart.workbench.explain import explain
from headstart.workbench.run import Run
from headstart.workbench.train import train

PICTURES = Path(__file__).parent / "pictures"
TEN = (
    "ants/10308379_1b6c72e180.jpg", "ants/153320619_2aeb5fa0ee.jpg", "ants/208072188_f293096296.jpg",
    "ants/35558229_1fa4608a7a.jpg", "ants/649407494_9b6bc4949f.jpg", "bees/1032546534_06907fe3b3.jpg",
    "bees/203868383_0fcbb48278.jpg", "bees/2478216347_535c8fe6d7.jpg", "bees/2809496124_5f25b5946a.jpg",
    "bees/540976476_844950623f.jpg",
)  # fmt: skip


def images(backbone: Backbone, folder: Path, every: int = 1) -> InspectedImages:
    """Labelled images of a folder of class folders."""
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    files = [(path, i) for i, name in enumerate(classes) for path in sorted((folder / name).iterdir())[::every]]
    prepared = torch.stack([backbone.preprocess.prepare(open_image(path).rgb) for path, _ in files])
    names = tuple(f"{path.parent.name}/{path.name}" for path, _ in files)
    labels = torch.tensor([label for _, label in files])
    pixels = backbone.preprocess.normalise(prepared)
    paths = tuple(path for path, _ in files)
    return InspectedImages(pixels, names, prepared=prepared, labels=labels, classes=classes, paths=paths)


def rendered(figure: Figure | None, width: int) -> Image.Image:
    """A figure as an image of this width."""
    assert figure is not None
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    image = Image.open(buffer).convert("RGB")
    return image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)


def write(name: str, result: InspectionResult, *, width: int = 900, colours: int = 0) -> None:
    """Write the figure of a result and print its interpretation."""
    image = rendered(result.figure(), width)
    if colours:
        image.quantize(colours).save(PICTURES / f"view_{name}.png", optimize=True)
    else:
        image.save(PICTURES / f"view_{name}.jpg", quality=82, optimize=True)
    print(f"\n=== {name}\n{result}\nalt: {result.description}", flush=True)


def sheet(explanations: Sequence[Explanation], path: Path) -> None:
    """Write explanations as one image, three in a row."""
    images = [rendered(one.figure(), 460) for one in explanations]
    height = max(image.height for image in images)
    whole = Image.new("RGB", (3 * 460, -(-len(images) // 3) * height), "white")
    for number, image in enumerate(images):
        whole.paste(image, (number % 3 * 460, number // 3 * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path)


def explained(run: Run, files: Sequence[Path], name: str, photographs: Path | None) -> None:
    """Print the evidence for the predictions of some images."""
    found = explain(run.folder, files, on_event=lambda _: None)
    print(f"\n=== {name}")
    for one in found:
        print("\n".join([one.title.rsplit("/", 2)[-1], *(f"  {words}" for words in one.interpretation)]), flush=True)
    if photographs is not None:
        sheet(found, photographs / f"{name}.png")


def plain(depth: int, act: type[nn.Module], norm: bool) -> nn.Module:
    """A plain network of convolutions."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2, 1), act()]
    for _ in range(depth):
        layers += [nn.Conv2d(16, 16, 3, 1, 1), *([nn.BatchNorm2d(16)] if norm else []), act()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 2))


def flow(network: nn.Module, data: InspectedImages) -> GradientFlow:
    """Gradients of four epochs of plain training."""
    small = nn.functional.interpolate(data.pixels, size=48)
    sbs = StepByStep(network, nn.CrossEntropyLoss(), torch.optim.SGD(network.parameters(), 0.05, momentum=0.9))
    sbs.set_loaders(DataLoader(TensorDataset(small, data.labels), 16, shuffle=True))
    layers = [name for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    sbs.capture_gradients(layers)
    sbs.capture_parameters(layers)
    sbs.train(4)
    return gradient_flow(sbs._gradients, sbs._parameters)


def main(photographs: Path | None) -> None:
    """Write all figures, and print their interpretations."""
    data = Path(os.environ["HEADSTART_TEST_DATA"])
    weights = data / "weights"
    resnet = {"backbone": "resnet18", "weights": str(weights / "resnet18_imagenet.safetensors")}
    with tempfile.TemporaryDirectory() as folder:
        hands = train(data / "rps_photos", out=Path(folder) / "hands", on_event=lambda _: None, **resnet)
        of_hands(hands, data / "rps_photos" / "test")
        probe = train(data / "hymenoptera", out=Path(folder) / "probe", on_event=lambda _: None, **resnet)
        of_insects(probe, data / "hymenoptera" / "val", photographs)
        full = {"strategy": "probe-then-full", "epochs": 4}
        tuned = train(data / "hymenoptera", out=Path(folder) / "tuned", on_event=lambda _: None, **resnet, **full)
        both = probe.classifier, tuned.classifier
        write("similarity", similarity(*both, images(both[0].backbone, data / "hymenoptera" / "val")), colours=64)
        some = images(both[0].backbone, data / "hymenoptera" / "val", 3)
        write("line", weight_line(*both, some, points=7), colours=64)
    of_gradients(images(load_backbone("embedded"), data / "hymenoptera" / "train", 2))
    for name in ("20", "56"):
        cifar = load_backbone(f"cifar_resnet{name}", weights=str(weights / f"cifar10_resnet{name}.safetensors"))
        folder_of_cifar = data / "cifar10_sample" / "test"
        correlation = gradient_correlation(cifar.network, images(cifar, folder_of_cifar, 10))
        print("\n".join([f"\n=== correlation {name}", *correlation.interpretation]))
        if name == "20":
            write("plane", weight_plane(cifar.network, images(cifar, folder_of_cifar, 2)), width=520, colours=128)
    for file in PICTURES.glob("view_*"):
        print(f"{file.name}  {file.stat().st_size / 1000:.0f} kB")


def of_hands(run: Run, folder: Path) -> None:
    """Filters, feature maps, the map of the data set and an explanation, on photographs of hands."""
    model = run.classifier
    shown = images(model.backbone, folder)
    print(run.evaluation.accuracy)
    write("filters", filters(model, shown), width=620, colours=64)
    write("maps", feature_maps(model, shown, image=70), width=700)
    write("set", embedding(model, shown), width=760)
    scissors = [path for path in shown.paths if path.parent.name == "scissors"][:1]
    write("explain", explain(run.folder, scissors, method="all", on_event=lambda _: None)[0])


def of_gradients(data: InspectedImages) -> None:
    """Two plain networks of seven convolutions, one in which gradients vanish."""
    write("flow_sigmoid", flow(plain(6, nn.Sigmoid, False), data), colours=64)
    write("flow_norm", flow(plain(6, nn.ReLU, True), data), colours=64)


def of_insects(run: Run, folder: Path, photographs: Path | None) -> None:
    """The map of the data set, ten photographs and the five most confident mistakes, in words."""
    model = run.classifier
    shown = images(model.backbone, folder)
    print(run.evaluation.accuracy)
    print(
        "\n".join(
            ["\n=== insects", *embedding(model, shown).interpretation, *feature_maps(model, shown).interpretation]
        )
    )
    explained(run, [folder / name for name in TEN], "ten", photographs)
    explained(run, [folder.parent / mistake.name for mistake in run.evaluation.mistakes[:5]], "mistakes", photographs)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
