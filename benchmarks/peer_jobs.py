# mypy: disable-error-code="import-not-found"
# the peers live in environments of their own
"""One epoch over a frozen resnet18 with a new top by Adam, in each peer's own idiom; run by peers.py, one a process.

    python benchmarks/peer_jobs.py PEER FOLDER WEIGHTS        prints one line of JSON

Imports of a peer stand inside its job: a process pays only for its own.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from record import Spent, peak_mb, spending

Job = Callable[[Path, Path], tuple[Spent, Spent]]
"""(folder, weights) → spent on importing, spent on the epoch."""


def plain(folder: Path, weights: Path) -> tuple[Spent, Spent]:
    """Plain torch and torchvision: the textbook's loop."""
    with spending() as importing:
        from textbook import textbook_epoch
    return importing, textbook_epoch(folder, weights, workers=0)


def headstart(folder: Path, weights: Path) -> tuple[Spent, Spent]:
    """Headstart: bytes to solved head, once and for all epochs."""
    with spending() as importing:
        import torch

        from bytes_to_head import Photographs, bytes_to_head
        from headstart.backbones.backbone import load_backbone
    paths = tuple(sorted(folder.glob("*/*")))
    names = sorted({path.parent.name for path in paths})
    labels = tuple(names.index(path.parent.name) for path in paths)
    backbone = load_backbone("resnet18", weights=str(weights), offline=True)
    with tempfile.TemporaryDirectory() as cache:
        photographs = Photographs(folder, paths, labels, weights)
        spent = bytes_to_head(photographs, backbone, Path(cache), workers=torch.get_num_threads())
    return importing, spent["whole"]


def lightning(folder: Path, weights: Path) -> tuple[Spent, Spent]:
    """Lightning: a LightningModule and a quiet Trainer."""
    with spending() as importing:
        import lightning as peer
        import torch

        from textbook import frozen_resnet18, textbook_loader

    class Module(peer.LightningModule):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.network = frozen_resnet18(weights)

        def training_step(self, batch: Any, number: int) -> Any:
            return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.network.fc.parameters(), lr=1e-3)

    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = peer.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
    module, loader = Module(), textbook_loader(folder, 0)
    with spending() as spent:
        trainer.fit(module, loader)
    return importing, spent


def skorch(folder: Path, weights: Path) -> tuple[Spent, Spent]:
    """Skorch: a NeuralNetClassifier without a validation split."""
    with spending() as importing:
        import torch
        from skorch import NeuralNetClassifier

        from textbook import BATCH, frozen_resnet18, textbook_images
    net = NeuralNetClassifier(
        frozen_resnet18(weights),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=1,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    images = textbook_images(folder)
    with spending() as spent:
        net.fit(images, y=None)
    return importing, spent


def fastai(folder: Path, weights: Path) -> tuple[Spent, Spent]:
    """Fastai: its own data block and Learner, the same network; it drops the last partial batch."""
    with spending() as importing:
        from fastai.callback.core import Callback, CancelValidException
        from fastai.data.all import CategoryBlock, DataBlock, RandomSplitter, get_image_files, parent_label
        from fastai.learner import Learner
        from fastai.optimizer import Adam
        from fastai.vision.all import CropPad, ImageBlock, Normalize, Resize, imagenet_stats
        from torch.nn import CrossEntropyLoss

        from textbook import BATCH, frozen_resnet18

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
    loaders = block.dataloaders(folder, bs=BATCH, num_workers=0)
    learner = Learner(loaders, frozen_resnet18(weights), CrossEntropyLoss(), opt_func=Adam, lr=1e-3, train_bn=False)
    with spending() as spent, learner.no_bar(), learner.no_logging():
        learner.fit(1, cbs=[NoValidation()])
    return importing, spent


def keras(folder: Path, weights: Path) -> tuple[Spent, Spent]:
    """Keras on torch: the same frozen network as a layer, a Dense top, fit over torch's loader."""
    os.environ["KERAS_BACKEND"] = "torch"
    with spending() as importing:
        import keras as peer
        import torch

        from textbook import frozen_resnet18, textbook_loader
    network = frozen_resnet18(weights)
    network.fc = torch.nn.Identity()
    frozen = peer.layers.TorchModuleWrapper(network, name="resnet18")
    frozen.trainable = False
    model = peer.Sequential([frozen, peer.layers.Dense(2)])
    loss = peer.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=peer.optimizers.Adam(1e-3), loss=loss)
    loader = textbook_loader(folder, 0)
    with spending() as spent:
        model.fit(loader, epochs=1, verbose=0)
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
    peer, folder, weights = sys.argv[1:4]
    threads = os.environ.get("OMP_NUM_THREADS")
    with spending() as torch_alone:
        import torch
    if threads:
        torch.set_num_threads(int(threads))
    importing, spent = JOBS[peer](Path(folder), Path(weights))
    found = {"import_cpu": torch_alone.cpu + importing.cpu, "cpu": spent.cpu, "wall": spent.wall, "peak_mb": peak_mb()}
    print(json.dumps({**found, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
