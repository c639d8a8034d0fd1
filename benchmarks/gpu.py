"""What does a GPU do: images per second from bytes to features, the share of its bfloat16 peak, and what limits it?

    python benchmarks/gpu.py [--images 4000] [--backbones resnet18 resnet50] [--batch 256]

Needs a CUDA GPU and no data: photographs of 500×375 are drawn and networks have random weights, which changes no speed.
The peak is the largest bfloat16 matrix product that this GPU was seen to do, 8192³; counted are multiplications and
additions of convolutions and products, three times as many for a training step as for a forward pass.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from headstart import runtime
from headstart.backbones.backbone import Backbone, load_backbone
from headstart.data.batches import pixel_batches
from headstart.data.images import ImageRules
from headstart.engines.bfloat16 import attach_bfloat16
from headstart.engines.choose import Engine, choose_engine
from headstart.features.cache import FeatureCache
from headstart.features.extract import ImageFiles, extract_features, open_store
from headstart.training.stepbystep import StepByStep
from machine import hardware
from record import Line, at_least, show, write

DEVICE = "cuda"
SHARE_OF_STEP = 50.0  # % of the peak that a fine-tuning step of resnet50 should reach
_TRILLION = 1e12


def main() -> None:
    """Answer the questions, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="photographs to read")
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--batch", type=int, default=256)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this benchmark needs a CUDA GPU, and torch sees none")
    peak = peak_rate()
    lines = [Line("peak", "bfloat16 matrix product", peak / _TRILLION, f"{peak / _TRILLION:.0f} TFLOP/s")]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photographs = draw(work / "photographs", chosen.images)
        for name in chosen.backbones:
            backbone = with_random_weights(name, work)
            lines += extraction(backbone, photographs, work, peak=peak, batch=chosen.batch)
    for batch in (32, chosen.batch):
        lines += fine_tuning_steps(peak, batch)
    show(lines)
    write("gpu", lines, hardware=hardware() | {"gpu": torch.cuda.get_device_name()})


# --- from bytes to features ---------------------------------------------------------------------------------------


def extraction(backbone: Backbone, photographs: Sequence[Path], work: Path, *, peak: float, batch: int) -> list[Line]:
    """Decoding alone, the network alone and both, in float32 and bfloat16; the slower one sets the pace."""
    name, half = backbone.spec.name, backbone.copy()
    attach_bfloat16(half)
    decoded = decode_rate(backbone, photographs, batch)
    workers = runtime.cores()
    lines = [Line(f"{name} decode", f"{name}: decode and resize alone", decoded, f"{decoded:,.0f} images/s")]
    for which, network in (("float32", backbone), ("bfloat16", half)):
        began = time.perf_counter()
        engine = choose_engine(network, device=DEVICE, waiting=len(photographs), cache_folder=work)
        ready = time.perf_counter() - began
        alone = network_rate(network, engine.forward, batch)
        share = alone * backbone.spec.gflop * 1e9 / peak
        what = f"{name} {which}: the network alone, batch {batch}"
        shown = f"{alone:,.0f} images/s, {share:.1%} of the peak"
        lines.append(Line(f"{name} network", what, alone, shown, note=f"{engine.reason}; ready in {ready:.1f} s"))
        whole = whole_rate(network, engine, photographs, work / f"cache-{name}-{which}", batch=batch)
        slower = min(alone, decoded)
        goal, verdict = at_least(100 * whole / slower, 90.0, " %")
        limit = "decoding" if decoded < alone else "the network"
        note = f"{workers} threads decode; limited by {limit}, {100 * whole / slower:.0f} % of it alone"
        what, shown = f"{name} {which}: bytes to features", f"{whole:,.0f} images/s"
        lines.append(Line(f"{name} whole", what, whole, shown, goal + " of the slower", verdict, note))
    return lines


def decode_rate(backbone: Backbone, photographs: Sequence[Path], batch: int) -> float:
    """Images a second, read and prepared by all cores."""
    prepare, workers = backbone.preprocess.prepare, runtime.cores()
    began = time.perf_counter()
    batches = pixel_batches(photographs, prepare, rules=ImageRules(), batch_size=batch, workers=workers)
    count = sum(len(each.positions) for each in batches)
    return count / (time.perf_counter() - began)


def network_rate(backbone: Backbone, forward: Callable[[Tensor], Tensor], batch: int) -> float:
    """Images a second, from bytes that are on the GPU already."""
    side = backbone.preprocess.crop
    pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=DEVICE)
    return batch / seconds(lambda: forward(backbone.preprocess.normalise(pixels)))


def whole_rate(backbone: Backbone, engine: Engine, photographs: Sequence[Path], cache: Path, *, batch: int) -> float:
    """Images a second, from files to rows in an empty cache."""
    names = tuple(path.name for path in photographs)
    contents = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in photographs)
    files = ImageFiles(tuple(photographs), names, contents, ImageRules())
    store = open_store(FeatureCache(cache, 1e10), backbone, files.rules)
    _, found = extract_features(files, backbone, engine, store, batch_size=batch, workers=runtime.cores())
    return found.images_per_second


# --- fine-tuning --------------------------------------------------------------------------------------------------


def fine_tuning_steps(peak: float, batch: int) -> list[Line]:
    """A step of the loop over a whole resnet50, batch norms frozen as in `--strategy full`."""
    lines = []
    for precision in ("fp32", "bf16"):
        network = models.resnet50(num_classes=10).to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
        loop = StepByStep(network, nn.CrossEntropyLoss(), optimizer, precision=precision, device=DEVICE, progress=False)
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        pixels = torch.randn(batch, 3, 224, 224, device=DEVICE).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(0, 10, (batch,), device=DEVICE)
        step = seconds(lambda: loop.train_step_fn(pixels, labels))  # noqa: B023  # called here, in this turn
        rate = batch / step
        share = 100 * 3 * 8.178e9 * rate / peak
        goal, verdict = at_least(share, SHARE_OF_STEP, " %") if precision == "bf16" else ("", "")
        what = f"resnet50: a fine-tuning step of {batch}, {precision}, channels last"
        shown = f"{1000 * step:.1f} ms, {rate:,.0f} images/s, {share:.1f} % of the peak"
        lines.append(Line("step", what, step, shown, goal, verdict))
    return lines


# --- measuring ----------------------------------------------------------------------------------------------------


def peak_rate(side: int = 8192) -> float:
    """Operations a second of the GPU's largest bfloat16 product, on random numbers: zeros are quicker."""
    a, b = torch.randn(2, side, side, device=DEVICE, dtype=torch.bfloat16)
    return 2 * side**3 / seconds(lambda: a @ b)


def seconds(work: Callable[[], object], times: int = 10) -> float:
    """Median seconds until the GPU has done it, after three warm-up runs."""
    found = []
    for number in range(times + 3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        found += [time.perf_counter() - began] if number >= 3 else []
    return median(found)


def with_random_weights(name: str, work: Path) -> Backbone:
    """A torchvision network whose weights come from a file, as everybody's do."""
    path = work / f"{name}.safetensors"
    save_file(getattr(models, name)().state_dict(), path)
    return load_backbone(name, weights=str(path), offline=True)


def draw(folder: Path, count: int) -> list[Path]:
    """JPEGs of 500×375 with detail at several scales, 50 to 60 kB each; no two alike."""
    folder.mkdir()

    def one(number: int) -> Path:
        rng = np.random.default_rng(number)
        layers = [rng.integers(0, 256, (rows, rows * 4 // 3, 3), dtype=np.uint8) for rows in (6, 24, 96)]
        sized = [np.asarray(Image.fromarray(layer).resize((500, 375)), np.float32) for layer in layers]
        picture = Image.fromarray((0.5 * sized[0] + 0.3 * sized[1] + 0.2 * sized[2]).astype(np.uint8))
        path = folder / f"{number}.jpg"
        picture.save(path, quality=90)
        return path

    with ThreadPoolExecutor(runtime.cores()) as pool:
        return list(pool.map(one, range(count)))


if __name__ == "__main__":
    main()
