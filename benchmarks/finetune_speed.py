"""How much faster is fine-tuning behind a cached boundary than the plain loops, for the same images and epochs?

    HEADSTART_TEST_DATA=… python benchmarks/finetune_speed.py [--images 96] [--epochs 10] [--full-epochs 2]
                                                              [--only loops|steps]

The plain loops decode every image in every epoch, as torchvision's tutorial does, with the same optimiser, head,
batches and still images (no augmentation), so that losses can be compared; the one with a frozen prefix runs the prefix
without gradients. `full` runs on prepared pixels that are decoded once. Ratios of one run; the clock counts. `steps`:
three over all stages, eager, channels last and by torch.compile, in CPU seconds; written to `finetune_steps`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch._inductor import config as inductor

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data.images import open_image
from headstart.features.cache import FeatureCache
from headstart.features.row_file import fill_rows, open_rows
from headstart.finetune.augmentation import NONE, Augmentation, stored_side
from headstart.finetune.fine_tuner import FineTuner
from headstart.finetune.settings import FineTuneImages, FineTuneSettings, FineTuneTask
from headstart.finetune.strategies import full, last_stage
from headstart.heads.head import Head
from headstart.training.records import EpochRecord, StepRecord
from machine import hardware
from record import Line, Spent, at_least, show, spending, test_data, write

BATCH = 32
UNTIL = "stage4"


def main() -> None:
    """Time the loops one after the other and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--full-epochs", type=int, default=2, help="of the loops over all stages; scaled to --epochs")
    parser.add_argument("--only", choices=["loops", "steps"])
    options = parser.parse_args()
    data = test_data()
    with tempfile.TemporaryDirectory() as work:
        os.environ["HEADSTART_CACHE"] = work
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(work) / "inductor")  # nothing is compiled beforehand
        if options.only != "steps":
            publish("finetune_speed", loops(data, Path(work), options.images, options.epochs, options.full_epochs))
        if options.only != "loops":
            publish("finetune_steps", steps(data, Path(work)))


def publish(name: str, measured: Iterator[Line]) -> None:
    """Print the lines and write them."""
    lines = list(measured)
    show(lines)
    write(name, lines, hardware=hardware(), threads=torch.get_num_threads())


def choose(data: Path, count: int) -> tuple[list[Path], np.ndarray]:
    """Training photographs of hymenoptera, evenly thinned, and their labels."""
    paths = sorted((data / "hymenoptera" / "train").glob("*/*.jpg"))
    paths = [paths[i] for i in np.linspace(0, len(paths) - 1, count).astype(int)]
    return paths, np.array([int(path.parent.name == "bees") for path in paths])


def loaded(data: Path) -> Backbone:
    """A resnet18 with its pretrained weights."""
    return load_backbone("resnet18", weights=str(data / "weights" / "resnet18_imagenet.safetensors"), offline=True)


def loops(data: Path, work: Path, count: int, epochs: int, full_epochs: int) -> Iterator[Line]:
    """All loops on the same images."""
    paths, labels = choose(data, count)
    settings = FineTuneSettings(epochs=epochs, batch_size=BATCH, augmentation=NONE)
    fresh = partial(loaded, data)
    with spending() as decoding:
        images = prepared(fresh(), paths, labels, FeatureCache(work / "pixels", 1e9))
    cached_losses, cached = ours_behind(fresh(), images, settings, work / "one")
    _, views = ours_behind(fresh(), images, replace(settings, augmentation=Augmentation()), work / "views")
    half_losses, half = ours_behind(fresh(), images, replace(settings, dtype="float16"), work / "half")
    prefix_losses, prefix = plain(fresh(), paths, images, settings, behind=True)
    shorter = replace(settings, epochs=full_epochs)
    _, whole = plain(fresh(), paths, images, shorter, behind=False)
    with spending() as ours_full:
        full(task_of(fresh(), images, shorter))
    scale = epochs / full_epochs
    started = decoding.wall  # every image decoded once; counted in full for each of ours
    apart = max(abs(a - b) / abs(b) for a, b in zip(cached_losses, prefix_losses, strict=True))
    off = max(abs(a - b) / abs(b) for a, b in zip(half_losses, prefix_losses, strict=True))
    about = f"resnet18, {count} images, {epochs} epochs"
    yield ratio(f"{about}: plain loop with a frozen prefix / last-stage", prefix.wall, started + cached.wall, 2.5)
    yield ratio(f"{about}: plain loop over all stages / last-stage", whole.wall * scale, started + cached.wall, 4.0)
    yield ratio(f"{about}: frozen prefix / last-stage with four stored views", prefix.wall, started + views.wall, None)
    yield ratio(f"{about}: frozen prefix / last-stage in float16", prefix.wall, started + half.wall, None)
    yield Line(
        "losses", "largest relative difference of a step's loss, cached against not", apart, f"{apart:.1e}",
        "at most 1e-4", "met" if apart <= 1e-4 else "missed", f"float16: {off:.1e}",
    )  # fmt: skip
    yield ratio(
        f"resnet18, {count} images, {full_epochs} epochs: plain loop over all stages / full, decoded once",
        whole.wall, started + ours_full.wall, 1.0,
    )  # fmt: skip


def steps(data: Path, work: Path) -> Iterator[Line]:
    """Three steps over all stages, the network as it is and changed; the first step, which compiles, apart."""
    paths, labels = choose(data, BATCH)
    images = prepared(loaded(data), paths, labels, FeatureCache(work / "few", 1e9))
    changes: dict[str, Callable[[nn.Module], nn.Module]] = {
        "eager": lambda network: network,
        "channels last": channels_last,
        "torch.compile": compiled,
    }
    for name, change in changes.items():
        what, backbone = f"three steps of {BATCH} over all stages, {name}", loaded(data)
        try:
            first, three, loss = full_steps(change(backbone.network), images, backbone)
        except RuntimeError as error:  # also what a compiler raises; its words name folders
            print(error, file=sys.stderr)
            yield Line("step", what, 0.0, "does not work here", note=type(error).__name__)
            continue
        before = f"a step before them {first.cpu:.1f} CPU s, {first.wall:.1f} s"
        shown = f"{three.cpu:.1f} CPU s, {three.wall:.1f} s"
        yield Line("step", what, three.cpu, shown, note=f"{before}; last loss {loss:.4f}")


def ratio(what: str, theirs: float, ours: float, least: float | None) -> Line:
    """How many times faster ours is."""
    value = theirs / ours
    goal, verdict = at_least(round(value, 2), least, " times") if least is not None else ("", "")
    return Line("ratio", what, value, f"{value:.2f} times", goal, verdict, f"{theirs:.0f} s / {ours:.0f} s")


def prepared(backbone: Backbone, paths: list[Path], labels: np.ndarray, cache: FeatureCache) -> FineTuneImages:
    """Every image decoded once, as `headstart train` does it."""
    preprocess = backbone.preprocess
    side = stored_side(preprocess.resize, preprocess.crop)
    square = replace(preprocess, crop=side)
    contents = tuple(path.name for path in paths)
    pixels = open_rows(cache, {"what": "pixels"}, contents, shapes=[(3, side, side)], dtype="uint8")
    fill_rows(
        pixels,
        lambda places: (torch.stack([square.prepare(open_image(paths[i]).rgb) for i in places]).numpy(),),
        batch_size=32,
    )
    none = np.empty(0, dtype=np.int64)
    return FineTuneImages(
        pixels=pixels,
        rows=np.arange(len(paths)),
        labels=labels,
        validation_rows=none,
        validation_labels=none,
        contents=contents,
    )


def empty_head() -> Head:
    """Two classes on resnet18's last two stages, knowing nothing."""
    return Head(
        kind="ridge", stages=("stage3", "stage4"), weight=np.zeros((256 + 512, 2)), bias=np.zeros(2), temperature=1.0
    )


def task_of(backbone: Backbone, images: FineTuneImages, settings: FineTuneSettings, **more: Any) -> FineTuneTask:
    """A fine-tuning that starts from an empty head."""
    return FineTuneTask(backbone=backbone, head=empty_head(), images=images, settings=settings, **more)


def ours_behind(
    backbone: Backbone, images: FineTuneImages, settings: FineTuneSettings, folder: Path
) -> tuple[list[float], Spent]:
    """Losses of the steps, and what it took, the filling of the cache included."""
    losses: list[float] = []

    def report(record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            losses.append(record.loss)

    with spending() as spent:
        last_stage(task_of(backbone, images, settings, report=report, until=UNTIL, cache=FeatureCache(folder, 1e10)))
    return losses, spent


def plain(
    backbone: Backbone, paths: list[Path], images: FineTuneImages, settings: FineTuneSettings, *, behind: bool
) -> tuple[list[float], Spent]:
    """The loop one writes by hand: decode, forward, backward, step; the same order, optimiser and schedule as ours."""
    tuner = FineTuner(task_of(backbone, images, settings))
    tuner.freeze(UNTIL if behind else None)
    cut = tuner.cut() if behind else None
    network = tuner.network.train()
    loop = tuner.loop(network, lambda positions, seed: decoded(backbone, [paths[i] for i in positions]))
    losses: list[float] = []
    torch.manual_seed(settings.seed)
    with spending() as spent:
        for _ in range(settings.epochs):
            for pixels, labels in loop.train_loader:
                if cut is None:
                    scores: Tensor = network(pixels)
                else:
                    with torch.no_grad():
                        crossing = cut.prefix(pixels)
                    scores = network.scores(cut.tail(*crossing))
                loss = nn.functional.cross_entropy(scores, labels)
                loop.optimizer.zero_grad()
                loss.backward()
                loop.optimizer.step()
                assert loop.scheduler is not None
                loop.scheduler.step()
                losses.append(loss.item())
    return losses, spent


def decoded(backbone: Backbone, paths: list[Path]) -> Tensor:
    """Pixels of image files, opened each time."""
    preprocess = backbone.preprocess
    pictures = [preprocess.prepare(np.asarray(Image.open(path).convert("RGB"))) for path in paths]
    return preprocess.normalise(torch.stack(pictures))


def channels_last(network: nn.Module) -> nn.Module:
    """The same network in the other memory format."""
    return network.to(memory_format=torch.channels_last)


def compiled(network: nn.Module) -> nn.Module:
    """The same network by torch.compile; the compiler is a child of this process, so its seconds count."""
    inductor.compile_threads = 1
    network.compile()
    return network


def full_steps(network: nn.Module, images: FineTuneImages, backbone: Backbone) -> tuple[Spent, Spent, float]:
    """Spent on a first step over all stages on prepared pixels, on three more, and the last one's loss."""
    network.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    crop = backbone.preprocess.crop
    stored = torch.from_numpy(images.pixels.read(np.arange(BATCH))[0])[..., :crop, :crop]
    pixels = backbone.preprocess.normalise(stored)
    if next(p for p in network.parameters() if p.ndim == 4).is_contiguous(memory_format=torch.channels_last):
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(images.labels[:BATCH])

    def step() -> float:
        loss = nn.functional.cross_entropy(network(pixels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    with spending() as first:
        step()
    with spending() as three:
        losses = [step() for _ in range(3)]
    return first, three, losses[-1]


if __name__ == "__main__":
    main()
