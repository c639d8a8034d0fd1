"""Recipe: every option of a run, its default and the reason for it. The only configuration; imports no torch.

The command line makes its options from these fields, `run.json` stores them, an unknown name is an error.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headstart.errors import RecipeError, near
from headstart.registry import ENGINES, HEADS
from headstart.source_layout import SourceLayout, class_names

PRECISIONS = ("float32", "bfloat16", "int8")
_OLD_NAMES = {"mirror": "flip_tta"}  # of recipes in a run.json written before 0.2
_OLD_NEGATIONS = {"no_flips": "flips", "no_inside": "inside"}


def _option(default: Any, about: str, **limits: Any) -> Any:
    """A field with help text and, in `limits`, its allowed values: choices or a registry's names, low, high."""
    return field(default=default, metadata={"about": about, "choices": (), "low": None, "high": None, **limits})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one run is made, from the split to the engine.

    Each field's metadata holds `about` (help text), `choices`, `low` and `high` (allowed values).

    Raises:
        RecipeError: a value has the wrong type, is not among the choices, or is out of range; or two contradict.
    """

    # auto is balanced: real ImageNet weights where any are within reach; what was passed over, and why, is said
    backbone: str = _option(
        "auto",
        "network to start from: fast, balanced (auto) or accurate, a name from `headstart backbones`, a registered "
        "one, timm:NAME, or two of these side by side: NAME+NAME",
    )
    # none: the weights come from the backbone's own source
    weights: str | None = _option(
        None,
        "weights: a .safetensors or .pth file, or a URL (URL#sha256=… checks it); for NAME+NAME one of each, with a "
        "comma",
    )
    # 0: the size the weights were trained with; twice the side shows small things better and costs four times the work
    size: int = _option(
        0, "side of the square input of the network, px; 0: the size its weights were trained with", low=0, high=2048
    )
    # none: one size. Two cost the work of both, 2.7 times for 288,224
    sizes: str = _option(
        "", "sides of several inputs, px, as 288,224: the network sees each image at every one, and the head sees all"
    )
    # the last three: on five sets and six networks 0.7 points better than the last two by leave-one-out, 0.6 on their
    # test images; the last two were 1 to 6 points better than the last one
    layers: str = _option(
        "auto",
        "stages whose features are used: auto (the last three), pooled, last-two, last-three, all, or names with "
        "commas",
    )
    # closed form: no learning rate, no epochs, exact leave-one-out
    head: str = _option("ridge", "what is trained on the features; auto: ridge or kernel", choices=HEADS)
    # probe: the backbone stays as it is; minutes on a laptop, and hard to beat with few images
    strategy: str = _option(
        "probe",
        "what is trained: the head alone, all after a frozen boundary, all stages, all from the probe's head, or auto",
        choices=("probe", "last-stage", "full", "probe-then-full", "auto"),
    )
    # ten minutes: a coffee break
    time: str = _option("10min", "with auto: how long fine-tuning may take, as 90s, 10min or 2h")
    # the last stage: it is the most specific to the old task, and cheap once the stages before it are cached
    unfreeze: str | None = _option(None, "with last-stage: the first stage, or module, that is trained [default: last]")
    # 0: about 150 steps, at least 3 epochs and at most 10: a few minutes on a laptop
    epochs: int = _option(0, "epochs of fine-tuning; 0: chosen by the number of training images", low=0, high=1000)
    # a step of 3 % of the weights' own size at the head, 0.4 times as much at each stage before it. Chosen by splits of
    # training images alone (0.03, 0.01): rps28, all stages, 0.959, 0.922, probe 0.837; ants and bees, last stage,
    # 0.907, 0.923 (0.003: 0.943), probe 0.954: images unlike the network's own want a larger rate, images like them a
    # smaller one, so auto tries a tenth of it too
    lr: float = _option(
        0.03,
        "learning rate of fine-tuning, relative to the size of the weights; 0: found by a range test",
        low=0.0,
        high=1.0,
    )
    # one-cycle: needs no choice of when to decay, and few epochs are enough (Smith and Topin 2018)
    schedule: str = _option(
        "one-cycle", "learning-rate schedule: one cycle, or cosine after a warm-up", choices=("one-cycle", "cosine")
    )
    # none: with few epochs on a pretrained network mixing costs more than it gives
    mix: str = _option(
        "none", "mix images and their labels in full and probe-then-full", choices=("none", "mixup", "cutmix")
    )
    # 0: probabilities stay those of the labels; smoothed ones have to be calibrated back
    label_smoothing: float = _option(0.0, "share of each label spread over all classes", low=0.0, high=0.9)
    # False: a fine-tuned network that does worse than the probe on images it never saw is not what anybody wants
    force: bool = _option(False, "keep the fine-tuned network although held-out images favour the probe")
    # none: the last weights; the others are judged on held-out images, which few sets can spare many of
    average: str = _option(
        "none",
        "averaged weights, kept if held-out images favour them: a running average (ema), or an interpolation between "
        "the probe and the fine-tuned weights (wise)",
        choices=("none", "ema", "wise"),
    )
    # False: it doubles the time of every prediction. Held-out images were against it after last-stage: log loss 0.122,
    # with it 0.218 (rps28, 3 bursts held out); 0.093, 0.105 (ants and bees, 36 images, --lr 0.003)
    flip_tta: bool = _option(
        False,
        "flip TTA: after fine-tuning predict with the mean score of an image and its horizontal flip, if held-out "
        "images favour it",
    )
    # frozen: the statistics of small batches are worse than those of a million images
    batch_norm: str = _option(
        "frozen",
        "batch norm in fine-tuning: frozen, recalibrated on the training images and then frozen, or live",
        choices=("frozen", "recalibrated", "live"),
    )
    # True: most photographs show the same thing when flipped; text, and left and right hands, do not
    flips: bool = _option(
        True, "random horizontal flips in fine-tuning; turn them off for text, road signs, left and right hands"
    )
    # flips: what `flips` says; auto costs one pass of at most 200 images and
    # their flips
    augment: str = _option(
        "flips",
        "augmentation of fine-tuning: as --flips says, or auto: no flips where flipped held-out images change class",
        choices=("flips", "auto"),
    )
    # 0: one process uses all cores; several pay with few images a step, on many cores and on several machines
    processes: int = _option(
        0,
        "processes that share the work. Fine-tuning: each trains on its rows of every batch, 0: one. With --on: "
        "workers, 0: one for each core",
        low=0,
        high=100_000,
    )
    # 4: with ten epochs each view is seen two or three times; each takes as much disk as the image itself
    views: int = _option(4, "with last-stage: cached views per image, the first is the image itself", low=1, high=64)
    # float32: the same losses as without a cache; float16 is half the disk and differs in the third decimal
    activations: str = _option(
        "float32", "with last-stage: precision of the cached activations", choices=("float32", "float16")
    )
    # auto: ResNet-18 trains 2.4 times as fast in bfloat16 with channels last, EfficientNet-Lite0 faster without it
    # (processor with AMX); weights stay float32, so no accuracy is lost (docs/decisions/step-precision.md)
    step_precision: str = _option(
        "auto",
        "number format of the steps of fine-tuning; auto: a timed step decides where a training takes over 30 s",
        choices=("auto", "float32", "bfloat16"),
    )
    # half a minute: writing a ResNet-18 with its optimiser takes a hundredth of that
    checkpoint_every: float = _option(
        30.0, "seconds between two checkpoints of fine-tuning: what a kill may cost", low=0.0
    )
    # none: the head learns the class frequencies of the folder, so its probabilities match it
    balance: str = _option("none", "class weights: as frequent as in the data, or equal", choices=("none", "equal"))
    # any fixed number: two runs on the same images give the same split and the same classifier
    seed: int = _option(0, "seed of the split, simulated calibration and random weights", low=0, high=2**32 - 1)
    # a fifth: of 250 images 50 are tested, an interval of about ±10 points, while training keeps most images
    test_share: float = _option(
        0.2, "share of the images kept for the test when the data has no split of its own", low=0.01, high=0.9
    )
    # False: shares of each class are met to the image, which matters where there are few
    stable_split: bool = _option(
        False,
        "select test images each by its own hash, so that images added later move none (for sets that grow, with --on "
        "too); --test-share is then met on average",
    )
    # frames of one burst on both sides of a split make the test accuracy meaningless
    group_by: str = _option(
        "auto",
        "what belongs together: auto (bursts and duplicates), none (duplicates only), parent (the folder), the header "
        "of a table's column, or a regular expression on the path whose first group names it",
    )
    # none: the header says it, in the words that people use, and which cells name images
    path_column: str | None = _option(None, "table: header of the column of paths [default: found by its words]")
    # none: as for paths
    label_column: str | None = _option(None, "table: header of the column of labels [default: found by its words]")
    # none: a column of the usual names whose values are plainly splits
    split_column: str | None = _option(
        None,
        "table: header of the column that says train, validation or test; HEADER=VALUE tests on the lines with this "
        "value and trains on all others [default: found by its words and values]",
    )
    # none: that which makes columns of the header
    delimiter: str | None = _option(
        None, "table: what stands between cells: comma, semicolon, tab, pipe or a character [default: by the header]"
    )
    # auto: the outermost folder is the usual one; where all of them share the same subfolders only the user can know
    label_from: str = _option(
        "auto",
        "folders: the level that names the class: first (outermost), last (innermost), a number from 1, or auto: "
        "first, but stop if all classes share the same subfolders",
    )
    # empty: the classes are those of the training images, in the order of their names
    classes: tuple[str, ...] = _option(
        (), "all classes in their order, with commas; images of others are refused [default: those of the images]"
    )
    # white: cut-out pictures and drawings mostly come from white pages
    background: str = _option("white", "colour laid under transparent images: white, black, grey or #rrggbb")
    # above the largest phone camera (201 million)
    max_pixels: int = _option(210_000_000, "images with more pixels are refused unopened", low=1)
    # False: what is filled in with grey is not what was photographed
    keep_damaged: bool = _option(False, "use what can be decoded of damaged images, and name each of them")
    # 16: the format's own white stays white
    bit_depth: int = _option(
        16, "bits of the values in 16-bit files: 12 for a 12-bit camera; one scale for all images", low=8, high=16
    )
    # none: labels are those of the folders or the table
    review: str | None = _option(
        None, "apply the decisions of headstart review: the folder of the run, or its review.jsonl [default: none]"
    )
    # one in twenty: above it the reader is suspected, not the images
    max_bad_share: float = _option(0.05, "stop when a larger share of the images cannot be read", low=0.0, high=1.0)
    # 32: larger batches are no faster on a CPU, and memory stays under 100 MB
    batch_size: int = _option(32, "images per forward pass", low=1, high=4096)
    # 0: one for each core
    workers: int = _option(0, "threads that decode images; 0: one for each core", low=0, high=256)
    # auto: a GPU when there is one
    device: str = _option("auto", "where the network runs: auto, cpu, cuda, cuda:1, mps")
    # auto: what was measured best for the backbone, or a short measurement when many images wait
    engine: str = _option("auto", "how the forward pass runs", choices=ENGINES)
    # float32: the weights as they were trained; with VNNI int8 is two to four times as fast (benchmarks/precision.py)
    precision: str = _option("float32", "precision of the frozen network; int8 is quantised", choices=PRECISIONS)
    # False: the statistics of the first batch norm are better evidence of the right preprocessing than a card
    accept_preprocessing: bool = _option(
        False, "train although the statistics of the first batch norm suggest another preprocessing"
    )
    # 5 %: at 1 % a threshold needs a thousand images, and then accepts much that is foreign
    false_rejects: float = _option(
        0.05,
        "share of images like the training images that may be called unfamiliar; 0.05 needs 199 of them",
        low=0.001,
        high=0.5,
    )
    # True: the nearest training image can be named; features of 2,000 images take 5 MB, and reveal something of them
    bank: bool = _option(
        True, "keep features of training images in the classifier file; without, principal components recognise others"
    )
    # True: a few seconds for a page that shows what is unusual inside
    inside: bool = _option(True, "write inside.html, the page that inspects the classifier")
    # False: weights may be downloaded; size and licence are printed first
    offline: bool = _option(False, "never use the network")
    # False: a file with the same path, size and times counts as unchanged
    verify: bool = _option(False, "hash every file again instead of trusting path, size and times")
    # 20 GB: about five million images at resnet18's four stages
    cache_limit_gb: float = _option(20.0, "size limit of the feature cache, in GB; the oldest go first", low=0.0)

    def __post_init__(self) -> None:
        if not isinstance(self.classes, tuple) or self.classes:
            object.__setattr__(self, "classes", class_names(self.classes))
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if value is spec.default:
                continue
            _check_type(spec, value)
            _check_range(spec, value)
        _ = self.seconds, self.sides
        if self.delimiter is not None or self.label_from != "auto":
            _ = self.layout
        if self.flip_tta and not self.flips:
            raise RecipeError(
                expected="horizontal flips that show the same thing, or no flips at all",
                found="both --no-flips and --flip-tta",
                where="--flip-tta",
                hint="--no-flips says that a flipped image may be of another class, so its scores would mislead.",
            )

    @property
    def seconds(self) -> float:
        """`time` as a number of seconds.

        Raises:
            RecipeError: it is not a number with a unit, or not above 0.
        """
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)\s*", self.time)
        seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2][0]] if found else 0.0
        if seconds <= 0:
            raise RecipeError(
                expected="a time such as 90s, 10min or 2h",
                found=repr(self.time),
                where="--time",
                hint="Write a number and its unit: s, min or h.",
            )
        return seconds

    @property
    def sides(self) -> tuple[int, ...]:
        """`sizes` as numbers, px, the largest first; empty: one size.

        Raises:
            RecipeError: they are not two or more different sides, or `size` is given too.
        """
        if not self.sizes:
            return ()
        words = [word.strip() for word in self.sizes.split(",")]
        sides = sorted({int(word) for word in words if re.fullmatch(r"[0-9]{2,4}", word)}, reverse=True)
        if len(sides) != len(words) or len(sides) < 2 or not 32 <= sides[-1] <= sides[0] <= 2048:
            raise RecipeError(
                expected="two or more different sides from 32 to 2048 px, as 288,224",
                found=repr(self.sizes),
                where="--sizes",
                hint="Write two or more numbers with commas.",
            )
        if self.size:
            raise RecipeError(
                expected="one of the two",
                found=f"--size {self.size} and --sizes {self.sizes}",
                where="--sizes",
                hint="Leave one of them out.",
            )
        return tuple(sides)

    @property
    def layout(self) -> SourceLayout:
        """How tables and folders are read.

        Raises:
            RecipeError: the delimiter or the level of the class is none.
        """
        names = ("path_column", "label_column", "split_column", "delimiter", "label_from", "group_by", "classes")
        return SourceLayout(**{name: getattr(self, name) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, in order."""
        return dataclasses.asdict(self)

    def with_options(self, options: Mapping[str, Any]) -> Recipe:
        """The recipe with some options changed.

        Raises:
            RecipeError: a name is unknown (the near ones are in the hint) or a value is not allowed.
        """
        known = [spec.name for spec in dataclasses.fields(self)]
        for name in options:
            if name not in known:
                raise RecipeError(expected="a known option", found=f"{name!r}", where="recipe", hint=near(name, known))
        return dataclasses.replace(self, **options)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from plain values, those of a run.json of headstart 0.1 included; missing ones take their default.

        Raises:
            RecipeError: a name is unknown (the near ones are in the hint) or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise RecipeError(
                expected="options by their names",
                found=type(values).__name__,
                where="Recipe.from_dict",
                hint='Give a dict such as {"seed": 3}.',
            )
        renamed = {_OLD_NAMES.get(name, name): value for name, value in values.items() if name not in _OLD_NEGATIONS}
        renamed |= {new: not values[old] for old, new in _OLD_NEGATIONS.items() if old in values}
        return cls().with_options(renamed)


# a field's annotation → the types of its values
TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "tuple[str, ...]": (tuple,),
}
_WORDS = {  # for those who write a TOML file and know no Python
    "str": "a text",
    "str | None": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple[str, ...]": "names",
}


def _check_type(spec: dataclasses.Field[Any], value: Any) -> None:
    types = TYPES[str(spec.type)]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise RecipeError(
            expected=f"{_WORDS[str(spec.type)]} for {spec.name}",
            found=repr(value),
            where=_flag(spec),
            hint=spec.metadata["about"],
        )


def _check_range(spec: dataclasses.Field[Any], value: Any) -> None:
    choices, low, high = (spec.metadata[key] for key in ("choices", "low", "high"))
    if choices and value not in choices:
        words = f"one of {', '.join(choices)}"
        raise RecipeError(expected=words, found=repr(value), where=_flag(spec), hint=near(value, choices))
    # written so that nan is refused too
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = f"a number from {low} to {high}" if high is not None else f"a number of at least {low}"
        raise RecipeError(expected=bounds, found=repr(value), where=_flag(spec), hint=spec.metadata["about"])


def _flag(spec: dataclasses.Field[Any]) -> str:
    return "--" + spec.name.replace("_", "-")
