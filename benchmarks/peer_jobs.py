# mypy: disable-error-code="import-not-found"
# the peers live in environments of their own
"""A resnet18 with a new top trained by Adam, in each peer's own idiom; run by peers.py, one a process.

    python benchmarks/peer_jobs.py PEER FOLDER WEIGHTS TRAINS EPOCHS        prints one line of JSON

TRAINS: `probe`, the top alone; `last-stage`, layer4 too; `full`, everything. Batch norms that train are live; those
before layer4 are in eval mode in `last-stage`, but not with skorch, which puts the whole module into train mode at each
step; in `probe` all stay in train mode. Imports of a peer stand inside its job: a process pays only for its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import Spent, peak_mb, spending


@dataclass(frozen=True)
class Task:
    """What is trained, on what, how long.

    Args:
        folder: images, a folder for each class. weights: of resnet18. trains: `probe`, `last-stage` or `full`.
    """

    folder: Path
    weights: Path
    trains: str
    epochs: int


Job = Callable[[Task], tuple[Spent, Spent]]
"""Task → spent on importing, spent on the epochs."""


def plain(task: Task) -> tuple[Spent, Spent]:
    """Plain torch and torchvision: the textbook's loop."""
    with spending() as importing:
        from textbook import textbook_epochs
    return importing, textbook_epochs(task.folder, task.weights, 0, task.trains, task.epochs)


def headstart(task: Task) -> tuple[Spent, Spent]:
    """Headstart: bytes to solved head, once and for all epochs; what trains more is another function."""
    if task.trains != "probe":
        return headstart_tuned(task)
    with spending() as importing:
        import torch

        from bytes_to_head import Photographs, bytes_to_head
        from headstart.backbones.backbone import load_backbone
    paths, labels = labelled(task.folder)
    backbone = load_backbone("resnet18", weights=str(task.weights), offline=True)
    with tempfile.TemporaryDirectory() as cache:
        photographs = Photographs(task.folder, tuple(paths), tuple(labels), task.weights)
        spent = bytes_to_head(photographs, backbone, Path(cache), workers=torch.get_num_threads())
    return importing, spent["whole"]


def headstart_tuned(task: Task) -> tuple[Spent, Spent]:
    """Headstart: images decoded once; `last-stage` on cached activations; its AdamW, its head on stages 3 and 4."""
    with spending() as importing:
        import numpy as np

        from finetune_speed import UNTIL, prepared, task_of
        from headstart.backbones.backbone import load_backbone
        from headstart.features.cache import FeatureCache
        from headstart.finetune.augmentation import NONE
        from headstart.finetune.settings import FineTuneSettings
        from headstart.finetune.strategies import full, last_stage
        from textbook import BATCH
    backbone = load_backbone("resnet18", weights=str(task.weights), offline=True)
    settings = FineTuneSettings(epochs=task.epochs, batch_size=BATCH, batch_norm="live", augmentation=NONE)
    with tempfile.TemporaryDirectory() as work, spending() as spent:
        cache, (paths, labels) = FeatureCache(Path(work), 1e10), labelled(task.folder)
        images = prepared(backbone, paths, np.array(labels), cache)
        if task.trains == "full":
            full(task_of(backbone, images, settings))
        else:
            last_stage(task_of(backbone, images, settings, until=UNTIL, cache=cache))
    return importing, spent


def labelled(folder: Path) -> tuple[list[Path], list[int]]:
    """Images of a folder for each class, and the place of each one's class."""
    paths = sorted(folder.glob("*/*"))
    names = sorted({path.parent.name for path in paths})
    return paths, [names.index(path.parent.name) for path in paths]


def lightning(task: Task) -> tuple[Spent, Spent]:
    """Lightning: a LightningModule and a quiet Trainer, which keeps the modes that the module was given."""
    with spending() as importing:
        import lightning as peer
        import torch

        from textbook import RATES, resnet18_to_train, rest_batch_norms, textbook_loader, trained_parameters

    class Module(peer.LightningModule):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = resnet18_to_train(task.weights, task.trains)
            rest_batch_norms(self.network, task.trains)

        def training_step(self, batch: Any, number: int) -> Any:
            return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(trained_parameters(self.network), lr=RATES[task.trains])

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = peer.Trainer(max_epochs=task.epochs, accelerator="cpu", enable_model_summary=False, **quiet)
    module, loader = Module(), textbook_loader(task.folder, 0)
    with spending() as spent:
        trainer.fit(module, loader)
    return importing, spent


def skorch(task: Task) -> tuple[Spent, Spent]:
    """Skorch: a NeuralNetClassifier without a validation split; frozen batch norms stay in train mode."""
    with spending() as importing:
        import torch
        from skorch import NeuralNetClassifier

        from textbook import BATCH, RATES, resnet18_to_train, textbook_images
    net = NeuralNetClassifier(
        resnet18_to_train(task.weights, task.trains),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=RATES[task.trains],
        max_epochs=task.epochs,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    images = textbook_images(task.folder)
    with spending() as spent:
        net.fit(images, y=None)
    return importing, spent


def fastai(task: Task) -> tuple[Spent, Spent]:
    """Fastai: its own data block and Learner, the same network, BnFreeze; it drops the last partial batch."""
    with spending() as importing:
        from fastai.callback.core import Callback, CancelValidException
        from fastai.callback.training import BnFreeze
        from fastai.data.all import CategoryBlock, DataBlock, RandomSplitter, get_image_files, parent_label
        from fastai.learner import Learner
        from fastai.optimizer import Adam
        from fastai.vision.all import CropPad, ImageBlock, Normalize, Resize, imagenet_stats
        from torch.nn import CrossEntropyLoss

        from textbook import BATCH, RATES, resnet18_to_train

    class NoValidation(Callback):  # type: ignore[misc,unused-ignore]
        def before_validate(self) -> None:
            raise CancelValidException

    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        splitter=RandomSplitter(valid_pct=0),
        item_tfms=[Resize(256), CropPad(224)],
        batch_tfms=[Normalize.from_stats(*imagenet_stats)],
    )
    loaders = block.dataloaders(task.folder, bs=BATCH, num_workers=0)
    network, rate = resnet18_to_train(task.weights, task.trains), RATES[task.trains]
    learner = Learner(loaders, network, CrossEntropyLoss(), opt_func=Adam, lr=rate, train_bn=False)
    callbacks = [NoValidation(), *([BnFreeze()] if task.trains == "last-stage" else [])]
    with spending() as spent, learner.no_bar(), learner.no_logging():
        learner.fit(task.epochs, cbs=callbacks)
    return importing, spent


def keras(task: Task) -> tuple[Spent, Spent]:
    """Keras on torch: the same network as two layers, what rests called with training=False, and a Dense top."""
    os.environ["KERAS_BACKEND"] = "torch"
    with spending() as importing:
        import keras as peer
        import torch

        from textbook import RATES, resnet18_to_train, textbook_loader
    modules = list(resnet18_to_train(task.weights, task.trains).children())  # …, layer3; layer4, pooling; fc
    early, late = torch.nn.Sequential(*modules[:7]), torch.nn.Sequential(*modules[7:9], torch.nn.Flatten())

    class Model(peer.Model):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.stage4 = (peer.layers.TorchModuleWrapper(part) for part in (early, late))
            self.before.trainable, self.stage4.trainable = task.trains == "full", task.trains != "probe"
            self.top = peer.layers.Dense(2)

        def call(self, pixels: Any, training: bool | None = None) -> Any:
            passed = self.before(pixels, training=False if task.trains == "last-stage" else training)
            return self.top(self.stage4(passed, training=training))

    model = Model()
    loss = peer.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=peer.optimizers.Adam(RATES[task.trains]), loss=loss)
    loader = textbook_loader(task.folder, 0)
    with spending() as spent:
        model.fit(loader, epochs=task.epochs, verbose=0)
    return importing, spent


JOBS: dict[str, Job] = {
    "plain": plain,
    "lightning": lightning,
    "skorch": skorch,
    "fastai": fastai,
    "keras": keras,
    "headstart": headstart,
}


def main() -> None:
    """Do one job and print what it took as the last line."""
    warnings.simplefilter("ignore")
    peer, folder, weights, trains, epochs = sys.argv[1:6]
    threads = os.environ.get("OMP_NUM_THREADS")
    with spending() as torch_alone:
        import torch
    if threads:
        torch.set_num_threads(int(threads))
    importing, spent = JOBS[peer](Task(Path(folder), Path(weights), trains, int(epochs)))
    found = {"import_cpu": torch_alone.cpu + importing.cpu, "cpu": spent.cpu, "wall": spent.wall, "peak_mb": peak_mb()}
    print(json.dumps({**found, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
