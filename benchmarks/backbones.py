"""Which backbone should `auto` start from? The default probe of each on the development sets; see the catalogue.

The column that `auto` reads is the accuracy on training images, each predicted by a head that was solved without it and
its near duplicates. The accuracy on the test images is printed beside it and chooses nothing.
HEADSTART_TEST_DATA=… python benchmarks/backbones.py [--only NAME …] [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import headstart as hs
from headstart.backbones.catalogue import TOGETHER, find_spec
from headstart.backbones.joined_spec import base_names
from headstart.errors import BackboneError
from machine import hardware
from record import Line, show, test_data, write

SETS = ("plant_seedlings", "scenes100", "solar_cells", "blood_cells", "textures10")
# weights of these come as files; those of the others with headstart or in the packages of headstart[lite]
FILES = {
    "resnet18": "resnet18_imagenet",
    "squeezenet1_0": "squeezenet1_0_imagenet",
    "mobilenet_v2_035": "mobilenet_v2_035_imagenet_features",
}
NAMES = (*TOGETHER, "efficientnet_lite2", "efficientnet_lite0", *FILES, "embedded")


def measure(name: str, data: Path, work: Path) -> tuple[list[float], list[float]]:
    """Of each set: the share of training images predicted without them, and the accuracy on the test images."""
    names = base_names(name.split("+"))
    files = [str(data / "weights" / f"{FILES[part]}.safetensors") if part in FILES else "" for part in names]
    file = ",".join(files) if any(files) else None
    held_out, test = [], []
    for each in SETS:
        run = hs.train(
            data / each,
            out=work / f"{each}-{name}",
            backbone=name,
            weights=file,
            offline=True,
            inside=False,
            accept_preprocessing=True,
            on_event=None,
        )
        held_out.append(float(run.record["head"]["held_out_accuracy"]))
        test.append(float(run.record["evaluation"]["accuracy"]["value"]))
        print(f"{name} on {each}: {held_out[-1]:.3f} held out, {test[-1]:.3f} test", flush=True)
    return held_out, test


def main() -> None:
    """Measure, print a table, write a results file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", default=NAMES)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEADSTART_CACHE"] = str(options.cache or f"{folder}/cache")
        for name in options.only:
            try:
                held_out, test = measure(name, test_data(), Path(folder))
            except BackboneError as error:
                print(f"{name} left out: {error}", flush=True)
                continue
            mean = sum(held_out) / len(SETS)
            what = f"{name}, mean over {len(SETS)} sets"
            note = (
                f"test {sum(test) / len(SETS):.3f}; held out: {', '.join(f'{value:.3f}' for value in held_out)}; "
                f"{find_spec(name).gmac:g} GMAC an image"
            )
            lines.append(Line(name, what, mean, f"{mean:.3f}", note=note))
    show(lines)
    write("backbones", lines, **hardware())


if __name__ == "__main__":
    main()
