"""Recipe: every knob of headstart, its default and the reason for it. The only configuration; imports no torch.

The command line makes its options from these fields, `run.json` stores them, an unknown key is an error.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.errors import RecipeError, near


def _knob(
    default: Any, about: str, *, choices: tuple[str, ...] = (), low: float | None = None, high: float | None = None
) -> Any:
    metadata = {"about": about, "choices": choices, "low": low, "high": high}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one run is made, from the split to the engine.

    Each field's metadata holds `about` (help text), `choices`, `low` and `high` (allowed values).

    Raises:
        RecipeError: a value is of the wrong kind, not among the choices, or out of range; or two contradict.
    """

    # resnet18 is the best-known small network; `auto` falls back in words when its weights are out of reach
    backbone: str = _knob(
        "auto", "network to start from: auto, a catalogue row (see `headstart backbones`), or timm:NAME"
    )
    # none: weights come from the row's own source
    weights: str | None = _knob(None, "weights: a .safetensors or .pth file, or a URL (URL#sha256=… checks it)")
    # 0: what the weights know best; larger ones see small things better; twice the side, four times the work
    size: int = _knob(
        0, "side of the square that the network gets, px; 0: what its weights were trained with", low=0, high=2048
    )
    # the last two stages beat the last one on six real sets, by 1 to 6 points, never worse by more than one image
    layers: str = _knob(
        "auto", "stages whose features are used: auto (the last two), pooled, last-two, all, or names with commas"
    )
    # closed form: no learning rate, no epochs, exact leave-one-out
    head: str = _knob("ridge", "what is trained on the features", choices=("ridge", "logistic"))
    # probe: the backbone stays as it is; minutes on a laptop, and hard to beat with few images
    strategy: str = _knob(
        "probe",
        "what is trained: the head alone, what follows a frozen boundary, all stages, all from the probe's head, or "
        "what a short pilot finds best within --time",
        choices=("probe", "last-stage", "full", "probe-then-full", "auto"),
    )
    # ten minutes: what one waits for with a coffee
    time: str = _knob("10min", "with auto: how long fine-tuning may take, as 90s, 10min or 2h")
    # the last stage: the part that knows most of the old task, and cheap once what precedes it is cached
    unfreeze: str | None = _knob(None, "with last-stage: the first stage, or module, that trains [default: the last]")
    # 0: about 150 steps, at least 3 epochs and at most 10: some minutes on a laptop
    epochs: int = _knob(0, "passes of fine-tuning over the training images; 0: by their number", low=0, high=1000)
    # a step of 3 % of the weights' own size at the head, 0.4 times as much at each stage before it. By splits of
    # training images alone (0.03, 0.01): rps28, all stages, 0.959, 0.922, probe 0.837; ants and bees, last stage,
    # 0.907, 0.923 (0.003: 0.943), probe 0.954: images unlike the network's own want more, images like them less, so
    # auto tries a tenth of it too
    lr: float = _knob(
        0.03,
        "learning rate of fine-tuning, relative to the size of the weights; 0: found by a range test",
        low=0.0,
        high=1.0,
    )
    # one-cycle: no rate has to be held for long, and few epochs are enough (Smith and Topin 2018)
    schedule: str = _knob(
        "one-cycle",
        "learning rate over the steps: one cycle, or a cosine after a warm-up",
        choices=("one-cycle", "cosine"),
    )
    # none: with few epochs on a pretrained network mixing costs more than it gives
    mix: str = _knob(
        "none", "mix images and their labels in full and probe-then-full", choices=("none", "mixup", "cutmix")
    )
    # 0: probabilities stay those of the labels; what is smoothed has to be calibrated back
    label_smoothing: float = _knob(0.0, "share of each label given to all classes alike", low=0.0, high=0.9)
    # none: the last weights; others are tried on held-out images, which few sets can spare many of
    average: str = _knob(
        "none",
        "weights tried after fine-tuning, and taken if held-out images say so: a running average (ema), or those "
        "between the probe's and the last (wise)",
        choices=("none", "ema", "wise"),
    )
    # False: once taken it doubles the time of every answer. Held-out images spoke against it after last-stage: log loss
    # 0.122, with it 0.218 (rps28, 3 bursts held out); 0.093, 0.105 (ants and bees, 36 images, --lr 0.003)
    flip_tta: bool = _knob(
        False,
        "test-time flips: after fine-tuning answer with the mean of the scores for an image and its mirror image, if "
        "held-out images say so",
    )
    # frozen: statistics of small batches are worse than those of a million images
    batch_norm: str = _knob(
        "frozen",
        "batch norm in fine-tuning: frozen, recalibrated on the training images and then frozen, or live",
        choices=("frozen", "recalibrated", "live"),
    )
    # False: most photographs show the same thing when mirrored; not text, not left and right hands told apart
    no_flips: bool = _knob(False, "never mirror images in fine-tuning: text, road signs, left and right hands")
    # 4: with ten epochs a view is seen two or three times; each takes as much disk as the image itself
    views: int = _knob(4, "with last-stage: cached views of each image, the first is the image itself", low=1, high=64)
    # float32: the same losses as without a cache; float16 is half the disk and differs in the third decimal
    activations: str = _knob(
        "float32", "with last-stage: precision of the cached activations", choices=("float32", "float16")
    )
    # half a minute: writing a ResNet-18 with its optimiser takes a hundredth of that
    checkpoint_every: float = _knob(
        30.0, "seconds of fine-tuning between two checkpoints: what a kill may cost", low=0.0
    )
    # none: the head learns the classes as often as they occur, so its probabilities match the folder
    balance: str = _knob(
        "none", "weight of the classes, as often as they occur or all alike", choices=("none", "equal")
    )
    # any fixed number: two runs on the same images give the same split and the same classifier
    seed: int = _knob(0, "seed of the split, the bootstrap and random weights", low=0, high=2**32 - 1)
    # a fifth: of 250 images 50 are tested, an interval of about ±10 points, while training keeps most images
    test_share: float = _knob(
        0.2, "share of the images kept for the test when the folder has one part only", low=0.01, high=0.9
    )
    # frames of one burst on both sides of a split make a test score a lie
    group_by: str = _knob(
        "auto",
        "what belongs together: auto (bursts and copies), none (copies only), parent (the folder), or a regular "
        "expression on the path whose first bracket names the group",
    )
    # white: cut-out pictures and drawings mostly come from white pages
    background: str = _knob("white", "colour laid under transparent images: white, black, grey or #rrggbb")
    # above the largest phone camera (201 million), 0.6 GB decoded
    max_pixels: int = _knob(210_000_000, "images with more pixels are refused unopened", low=1)
    # one in twenty: above it the reader is suspected, not the images
    max_bad_share: float = _knob(0.05, "stop when a larger share of the images cannot be read", low=0.0, high=1.0)
    # 32: the CPU's rate no longer rises beyond, and memory stays under 100 MB
    batch_size: int = _knob(32, "images a forward pass takes at once", low=1, high=4096)
    # 0: as many as there are cores
    workers: int = _knob(0, "threads that decode images; 0: one for each core", low=0, high=256)
    # auto: a GPU when there is one
    device: str = _knob("auto", "where the network runs: auto, cpu, cuda, cuda:1, mps")
    # auto: what was measured best for the row, or a short measurement when enough images wait
    engine: str = _knob(
        "auto", "how the forward pass runs", choices=("auto", "eager", "folded", "compiled", "onnxruntime")
    )
    # False: what the first batch norm remembers of its training images is a better witness than a card
    accept_preprocessing: bool = _knob(
        False, "train also when the network's first batch norm speaks for images prepared in another way"
    )
    # False: some seconds for a page that shows what is odd inside
    no_inside: bool = _knob(False, "leave out the page that looks inside the classifier")
    # False: weights may be fetched, size and licence are printed first
    offline: bool = _knob(False, "never touch the network")
    # False: a file with the same path, size and time is taken as unchanged
    verify: bool = _knob(False, "hash every file again instead of trusting path, size and time")
    # 20 GB: about five million images at resnet18's four stages
    cache_limit_gb: float = _knob(20.0, "size the features' cache may reach, in GB; the oldest go first", low=0.0)

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            _check_kind(spec, value)
            _check_range(spec, value)
        _ = self.seconds
        if self.no_flips and self.flip_tta:
            raise RecipeError(
                expected="mirror images that show the same thing, or none at all",
                found="both --no-flips and --flip-tta",
                where="--flip-tta",
                hint="--no-flips says that a mirror image may be of another class: its scores would mislead. Drop one.",
            )

    @property
    def seconds(self) -> float:
        """`time` as a number of seconds.

        Raises:
            RecipeError: it is not written as a number and a unit, or not above 0.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)\s*", self.time)
        seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2][0]] if found else 0.0
        if seconds <= 0:
            raise RecipeError(expected="a time such as 90s, 10min or 2h", found=repr(self.time), where="--time")
        return seconds

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, in order."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Recipe from plain values; missing keys take their default.

        Raises:
            RecipeError: a key is unknown (the near ones are named) or a value is not allowed.
        """
        known = [spec.name for spec in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise RecipeError(expected="a known option", found=f"{key!r}", where="recipe", hint=near(key, known))
        return cls(**values)


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
}


def _check_kind(spec: dataclasses.Field[Any], value: Any) -> None:
    kinds = _KINDS[str(spec.type)]
    is_flag = isinstance(value, bool)
    if not isinstance(value, kinds) or (is_flag and bool not in kinds):
        raise RecipeError(
            expected=f"{spec.type} for {spec.name}", found=repr(value), where=_option(spec), hint=spec.metadata["about"]
        )


def _check_range(spec: dataclasses.Field[Any], value: Any) -> None:
    choices, low, high = (spec.metadata[key] for key in ("choices", "low", "high"))
    if choices and value not in choices:
        raise RecipeError(
            expected=f"one of {', '.join(choices)}", found=repr(value), where=_option(spec), hint=near(value, choices)
        )
    # written so that nan is refused too
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = f"a number from {low} to {high}" if high is not None else f"a number of at least {low}"
        raise RecipeError(expected=bounds, found=repr(value), where=_option(spec), hint=spec.metadata["about"])


def _option(spec: dataclasses.Field[Any]) -> str:
    return "--" + spec.name.replace("_", "-")
