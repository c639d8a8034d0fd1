"""What does fine-tuning bring on real images, how long does it take, and how well was that predicted?

    HEADSTART_TEST_DATA=… python benchmarks/finetune.py [--only NAME …] [--seeds 3] [--cache FOLDER] [--cpu]

Every number comes from `headstart.train`. No choice in a run depends on test images; the default learning rate was
set with an eye on hymenoptera's and rps28's. Times are of fine-tuning alone, by the clock, on the machine as it was;
with `--cpu` processor seconds stand for the clock's everywhere, in the predictions too: for a busy machine, with
OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

import torch
from safetensors.torch import save_file

if "--cpu" in sys.argv:
    time.perf_counter = time.process_time  # before headstart, whose clocks it becomes, is imported

import headstart as hs
from headstart.backbones.backbone import build_backbone
from headstart.backbones.catalogue import SPECS
from headstart.workbench.run import Run
from machine import hardware
from record import Line, at_least, at_most, show, test_data, write

MOST_OFF = 0.3  # of the actual time


def quiet(event: object) -> None:
    """Print nothing."""


class Bench:
    """Real data, a folder for runs that is thrown away, and the predictions of time that were made on the way."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work = data, work
        self.predictions: list[Line] = []

    def train(self, source: str, backbone: str, weights: str | Path | None, strategy: str, **options: object) -> Run:
        """One quiet run; weights: a file, the name of one of the test data, or None for those of a package."""
        file = weights if isinstance(weights, Path) else self.data / "weights" / f"{weights}.safetensors"
        name = f"{source}-{backbone}-{strategy}-{len(list(self.work.iterdir()))}"
        run: Run = hs.train(  # type: ignore[operator]  # the front door resolves its names when used
            self.data / source,
            out=self.work / name,
            on_event=quiet,
            backbone=backbone,
            weights=None if weights is None else str(file),
            strategy=strategy,
            offline=True,
            inside=False,
            **options,
        )
        fine_tuning = run.record.get("fine_tuning")
        if fine_tuning and fine_tuning["total_seconds"]:
            predicted, took = fine_tuning["plan"]["cost"]["seconds"], fine_tuning["total_seconds"]
            goal, verdict = at_most(abs(predicted / took - 1), MOST_OFF)
            what = f"predicted over actual seconds: {source}, {backbone}, {strategy}, seed {options.get('seed', 0)}"
            self.predictions.append(
                Line("prediction", what, predicted / took, f"{predicted / took:.2f} ({took:.0f} s)", goal, verdict)
            )
        return run


def shown(run: Run) -> str:
    """`0.948 [0.900, 0.973] n 153, 61 s`."""
    share, fine_tuning = run.evaluation.accuracy, run.record.get("fine_tuning")
    seconds = f", {fine_tuning['total_seconds']:.0f} s" if fine_tuning and fine_tuning["total_seconds"] else ""
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}] n {share.n}{seconds}"


def ants_and_bees(bench: Bench, seeds: int) -> Iterator[Line]:
    """resnet18: every strategy beside the probe; and all stages from random weights."""
    probe = bench.train("hymenoptera", "resnet18", "resnet18_imagenet", "probe")
    yield Line("hymenoptera", "hymenoptera, resnet18, probe", probe.evaluation.accuracy.value, shown(probe))
    low = probe.evaluation.accuracy.low
    for strategy in ("last-stage", "probe-then-full", "auto"):
        run = bench.train("hymenoptera", "resnet18", "resnet18_imagenet", strategy)
        goal, verdict = at_least(run.evaluation.accuracy.value, round(low, 4))
        decided = run.record["fine_tuning"]["plan"]["strategy"]
        gain = run.record["fine_tuning"]["gain"]
        kept = "probe kept" if gain is not None and gain["low"] <= 0 else ""
        note = f"{decided} {kept}".strip() if strategy == "auto" else "goal: the probe's lower end"
        yield Line(
            "hymenoptera",
            f"hymenoptera, resnet18, {strategy}",
            run.evaluation.accuracy.value,
            shown(run),
            goal,
            verdict,
            note,
        )
    with random_weights("resnet18", bench.work) as file:
        run = bench.train("hymenoptera", "resnet18", file, "full", batch_norm="live", accept_preprocessing=True)
    yield Line(
        "hymenoptera", "hymenoptera, resnet18 with random weights, full", run.evaluation.accuracy.value, shown(run)
    )


def hands(bench: Bench, seeds: int) -> Iterator[Line]:
    """cifar_resnet20 on 28 px hands: mean and spread over seeds."""
    for strategy in ("probe", "last-stage", "probe-then-full", "full"):
        runs = [
            bench.train("rps28", "cifar_resnet20", "cifar10_resnet20", strategy, seed=seed)
            for seed in range(1 if strategy == "probe" else seeds)
        ]
        shares = [run.evaluation.accuracy.value for run in runs]
        spread = f" ± {stdev(shares):.3f} over {len(shares)} seeds" if len(shares) > 1 else ""
        times = [run.record["fine_tuning"]["total_seconds"] for run in runs if "fine_tuning" in run.record]
        text = f"{mean(shares):.3f}{spread}" + (f", {mean(times):.0f} s" if times else "")
        wanted = strategy in ("probe-then-full", "full")
        goal, verdict = at_least(mean(shares), 0.93) if wanted else ("", "")
        note = "; ".join(f"{share:.3f}" for share in shares) + f"; n {runs[0].evaluation.accuracy.n}"
        yield Line("rps28", f"rps28, cifar_resnet20, {strategy}", mean(shares), text, goal, verdict, note)


def forms(bench: Bench, seeds: int) -> Iterator[Line]:
    """How well the time is predicted in the form of step that a timed one has chosen; three epochs on solar cells."""
    for backbone, weights in (("resnet18", "resnet18_imagenet"), ("efficientnet_lite0", None)):
        for strategy in ("last-stage", "probe-then-full"):
            run = bench.train("solar_cells", backbone, weights, strategy, epochs=3, force=True)
            fine_tuning = run.record["fine_tuning"]
            what = f"solar_cells, {backbone}, {strategy}, three epochs"
            yield Line(
                "forms", what, run.evaluation.accuracy.value, shown(run), note=str(fine_tuning["plan"].get("form"))
            )


def guarded(bench: Bench, seeds: int) -> Iterator[Line]:
    """Few epochs at the default rate, which once destroyed a probe: is it kept where the held-out images say so?"""
    probe = bench.train("hymenoptera", "resnet18", "resnet18_imagenet", "probe")
    yield Line("guarded", "hymenoptera, probe", probe.evaluation.accuracy.value, shown(probe))
    cases: tuple[tuple[str, dict[str, int]], ...] = (
        ("last-stage", {"epochs": 5, "views": 1}),
        ("probe-then-full", {"epochs": 2}),
        ("full", {"epochs": 2}),
    )
    for strategy, options in cases:
        run = bench.train("hymenoptera", "resnet18", "resnet18_imagenet", strategy, **options)
        fine_tuning = run.record["fine_tuning"]
        note = f"{'fine-tuned' if fine_tuning.get('kept') else 'probe'} kept; {fine_tuning['verdict']}"
        goal, verdict = at_least(run.evaluation.accuracy.value, round(probe.evaluation.accuracy.low, 4))
        said = ", ".join(f"{name} {value}" for name, value in options.items())
        what = f"hymenoptera, {strategy}, {said}"
        yield Line("guarded", what, run.evaluation.accuracy.value, shown(run), goal, verdict, note)


JOBS = {"hymenoptera": ants_and_bees, "rps28": hands, "forms": forms, "guarded": guarded}


@contextlib.contextmanager
def random_weights(name: str, folder: Path) -> Iterator[Path]:
    """A file of weights as the network's builder draws them."""
    file = folder / f"{name}-random.safetensors"
    state = build_backbone(SPECS[name], seed=0).state()
    save_file({key: tensor.clone() for key, tensor in state.items()}, file)
    try:
        yield file
    finally:
        file.unlink()


def main() -> None:
    """Run the jobs, print and write their lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="processor seconds in place of the clock's")
    parser.add_argument("--cache", type=Path, default=None, help="kept between calls; a new one if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        os.environ["HEADSTART_CACHE"] = str(options.cache or Path(work) / "cache")
        for name in options.only:
            place = Path(work) / name
            place.mkdir()
            bench = Bench(test_data(), place)
            lines: list[Line] = []
            for line in JOBS[name](bench, options.seeds):
                lines.append(line)
                show([line])
                write("finetune", [*lines, *bench.predictions], hardware=hardware(), threads=torch.get_num_threads())
            show(bench.predictions)


if __name__ == "__main__":
    main()
