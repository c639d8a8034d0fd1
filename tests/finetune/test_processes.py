"""Fine-tuning in two processes, with gloo: the losses and answers of one process, whatever the numbers divide by."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fine_tune_set import STILL, backbone, make_head, make_images, task
from headstart.errors import RunError
from headstart.features.cache import FeatureCache
from headstart.finetune import processes
from headstart.finetune.processes import together
from headstart.finetune.result import FineTuneResult
from headstart.finetune.settings import FineTuneImages, FineTuneSettings, FineTuneTask
from headstart.heads.head import Head
from headstart.training.checkpoint_folder import CheckpointFolder
from headstart.training.records import EpochRecord, StepRecord

# 36 images in batches of 5: a last batch of one joins the one before it; 7 steps an epoch, shares of 3 and 2
UNEVEN = replace(STILL, epochs=3, batch_size=5)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("fine-tune"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


Losses = list[float]


def trained(
    train: Callable[[str, FineTuneTask], FineTuneResult],
    strategy: str,
    images: FineTuneImages,
    head: Head,
    settings: FineTuneSettings,
    **more: object,
) -> tuple[FineTuneResult, Losses, dict[str, torch.Tensor]]:
    made, losses = backbone(), Losses()

    def report(record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            losses.append(record.loss)

    result = train(strategy, task(made, head, images, settings, report=report, **more))
    return result, losses, made.state()


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    cache = {"cache": FeatureCache(tmp_path, 1e9), "until": "stage3"}
    tasks = {
        "probe-then-full": (UNEVEN, {}),
        "last-stage": (replace(UNEVEN, epochs=1), cache),
        "full": (replace(UNEVEN, epochs=1, mix="mixup", batch_norm="live", flip_tta=True, average="ema"), {}),
    }
    with together(1) as train:
        alone = {name: trained(train, name, images, head, s, **more) for name, (s, more) in tasks.items()}
    with together(2) as train:
        both = {name: trained(train, name, images, head, s, **more) for name, (s, more) in tasks.items()}
    assert len(alone["probe-then-full"][1]) == 21
    for name, (expected, losses, state) in alone.items():
        result, found, own = both[name]
        assert found == pytest.approx(losses, rel=1e-6), name
        assert [r.loss for r in result.records] == pytest.approx([r.loss for r in expected.records], rel=1e-5)
        assert [r.samples for r in result.records] == [r.samples for r in expected.records]
        assert [r.metrics for r in result.records] == [r.metrics for r in expected.records]
        assert result.held_out.n == 12
        assert result.held_out.accuracy == expected.held_out.accuracy
        for key, tensor in state.items():
            assert torch.allclose(own[key], tensor, atol=1e-4), key


@pytest.mark.slow
def test_a_killed_process_ends_the_training_and_it_is_resumed(
    images: FineTuneImages, head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(*args, **options))
        return started[-1]

    settings = replace(UNEVEN, epochs=2)
    steps: list[float] = []

    def kill_after_nine(record: StepRecord | EpochRecord | str) -> None:
        if isinstance(record, StepRecord):
            steps.append(record.loss)
            if len(steps) == 9:
                started[0].kill()

    monkeypatch.setattr(processes, "subprocess", SimpleNamespace(Popen=start, DEVNULL=subprocess.DEVNULL))
    folder = tmp_path / "job"
    folder.mkdir()
    more = {"report": kill_after_nine, "checkpoints": CheckpointFolder(folder, 0.0)}
    with pytest.raises(RunError, match="process 2 of 2 that was killed by signal 9"), together(2) as train:
        train("probe-then-full", task(backbone(), head, images, settings, **more))
    assert len(steps) == 9
    shutil.copytree(folder, tmp_path / "copy")
    with together(2) as train:
        _, losses, expected = trained(train, "probe-then-full", images, head, settings)
        checkpoints = CheckpointFolder(folder, 1e9)
        _, rest, state = trained(train, "probe-then-full", images, head, settings, checkpoints=checkpoints)
    assert steps + rest == losses
    assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())
    checkpoints = CheckpointFolder(tmp_path / "copy", 1e9)
    with together(1) as train:  # in one process: the same images in the same order
        _, rest, state = trained(train, "probe-then-full", images, head, settings, checkpoints=checkpoints)
    assert steps + rest == pytest.approx(losses, rel=1e-5)
    assert all(torch.allclose(state[key], tensor, atol=1e-4) for key, tensor in expected.items())
    assert all(process.poll() is not None for process in started)


def listening() -> set[str]:
    """Addresses, in the kernel's hexadecimal form, on which this process waits for connections."""
    own = {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in own}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the system does not list its sockets there")
def test_only_this_machine_can_connect() -> None:
    """What is broadcast is unpickled, so nobody else may send it."""
    before = os.environ.get("GLOO_SOCKET_IFNAME")
    with together(2):
        found = listening()
    assert found
    assert found <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert os.environ.get("GLOO_SOCKET_IFNAME") == before
