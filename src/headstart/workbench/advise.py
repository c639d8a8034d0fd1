"""advise: which backbone, stages and image size to train with, measured on the training images alone."""

from __future__ import annotations

import importlib.util
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import torch

from headstart.advice.backbones import (
    FEW_PER_CLASS,
    RUNGS,
    BackboneAdvice,
    Measured,
    NetworkCost,
    RankedBackbone,
    advised,
    fit_layers,
    rank_networks,
    survivors,
)
from headstart.advice.nested import beginning, nested_order
from headstart.backbones.backbone import Backbone
from headstart.backbones.catalogue import REGISTERED, SPECS, find_spec
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.spec import BackboneSpec
from headstart.backbones.weights import weights_available
from headstart.data.dataset import Dataset
from headstart.data.output_record import output_folder, record_files
from headstart.data.python_source import Source
from headstart.errors import BackboneError, RecipeError
from headstart.figures.backbone_costs import BackbonePoint, backbone_costs_figure
from headstart.files import all_or_none, atomic_write, write_text
from headstart.heads.regularization_path import Labels
from headstart.options import AdviseOptions, takes
from headstart.output_paths import writable_folder
from headstart.plain import to_plain
from headstart.progress import OnEvent, print_event
from headstart.recipe import Recipe
from headstart.wording import counted, duration
from headstart.workbench.session import FeatureJob, Session
from headstart.workbench.starting_point import check_backbone, choose_backbone
from headstart.workbench.training_plan import layer_choices

JSON, FIGURE = "advice.json", "backbones.png"  # what `out` gets
_SIDES = (0.71, 1.29)  # of the side that the weights were trained with: half the pixels, and 1.7 times as many
_STEP = 32  # px; most networks halve their map five times
_TIMED = 5  # single images; their median is the latency
_ENOUGH = 1000.0  # ms of timing, for a network that is slow or a machine that is busy


@takes(AdviseOptions)
def advise(  # six: what to compare, how long, where to write
    source: Source,
    *,
    backbones: str | Sequence[str] = (),
    sides: str | Sequence[int] = (),
    minutes: float = 5.0,
    out: str | Path | None = None,
    on_event: OnEvent | None = print_event,
    **options: Unpack[AdviseOptions],
) -> BackboneAdvice:
    """Rank backbones, stages and image sizes for your images by leave-one-group-out error, with what each costs here.

    It looks at training images only, at most 500: the test images that `train` will report stay unseen.

    Args:
        source: as for `train`.
        backbones: names, in a list or with commas; `NAME=FILE` gives weights. Default: all whose weights are here.
        sides: of the input in px. Default: that of the weights, about 0.7 and 1.3 times it.
        minutes: nothing is begun that would not end in time: no network of the first round, and no later round as a
            whole, so that what is compared was measured on the same images.
        out: folder for advice.json and a figure of accuracy over cost.

    Raises:
        DataError: there is no usable set. BackboneError: a backbone is unknown or its weights are not here.
        RecipeError: an option is wrong.
    """
    began = time.monotonic()
    session = Session(None, options, on_event)
    if not minutes > 0:
        raise RecipeError(
            expected="a number of minutes above 0", found=f"{minutes}", where="--minutes", hint="Such as 10."
        )
    folder = None if out is None else writable_folder(out)
    named, wanted = _named(session, backbones), _sides(sides)
    path = session.source(source)
    with session.step("audit"):
        dataset = session.dataset(source).with_split(
            session.recipe.test_share, session.recipe.seed, stable=session.recipe.stable_split
        )
    with session.step("time the networks"):
        candidates = _candidates(session, named, wanted)
    trial = _Trial(session, dataset.training_only(), deadline=began + minutes * 60)
    trial.run(sorted(candidates, key=lambda one: one.cost.milliseconds))
    ranked = rank_networks(trial.measured, trial.groups, is_few=trial.is_few)
    best = advised(ranked)
    advice = BackboneAdvice(
        source=str(path),
        images=len(trial.groups[-1]),
        classes=len(dataset.classes),
        ranked=tuple(ranked),
        advised=best,
        is_few=trial.is_few,
        left_out=trial.left_out,
        command=_command(path, best),
        seconds=time.monotonic() - began,
    )
    if folder is not None:
        _write(folder, advice)
    return advice


def cost_figure(advice: BackboneAdvice) -> object:
    """Accuracy over the time for one image, a point for each network: a Matplotlib figure."""
    return backbone_costs_figure(
        [
            BackbonePoint(
                name=one.network.title,
                milliseconds=one.network.milliseconds,
                accuracy=one.fit.accuracy.value,
                low=one.fit.accuracy.low,
                high=one.fit.accuracy.high,
                is_advised=one is advice.advised,
            )
            for one in advice.ranked
            if one.images == advice.images  # others were measured on fewer images
        ]
    )


@dataclass(frozen=True)
class _Candidate:
    """A loaded backbone at an image size."""

    backbone: Backbone
    preprocess: Preprocess
    cost: NetworkCost


class _Trial:
    """The rounds of successive halving over candidates; the results are the attributes."""

    def __init__(self, session: Session, dataset: Dataset, *, deadline: float) -> None:
        self.session, self.dataset, self.deadline = session, dataset, deadline
        self.labels, self.all_groups = dataset.labels, dataset.groups()
        self.order = nested_order(self.labels, self.all_groups, seed=session.recipe.seed)
        self.is_few = min(len(dataset), RUNGS[-1]) < FEW_PER_CLASS * len(dataset.classes)
        self.groups: list[Labels] = []
        self.left_out: dict[str, str] = {}
        self._measured: dict[str, Measured] = {}
        self._seconds: dict[str, float] = {}  # per image, as extraction took

    @property
    def measured(self) -> list[Measured]:
        """Every network that was measured at least once."""
        return list(self._measured.values())

    def run(self, candidates: Sequence[_Candidate]) -> None:
        """Measure all on few images, then ever fewer of them on more."""
        counts = sorted({min(count, len(self.dataset)) for count in RUNGS})
        for number, count in enumerate(counts, 1):
            rows = beginning(self.order, self.all_groups, count)
            if number > 1 and not self._ends_in_time(candidates, rows):
                return
            self.groups.append(self.all_groups[rows])
            expected = sum(self._waiting(one, rows)[1] for one in candidates)
            what = f"round {number} of {len(counts)}"
            networks = f"{counted(len(candidates), 'network')} on {len(rows)} images"
            self.session.notice(
                f"{what}: {networks}, {f'up to {duration(expected)}' if expected else 'from the cache'}"
            )
            report = self.session.progress(what, "networks")
            with self.session.step(what):
                for done, one in enumerate(candidates, 1):
                    self._measure(one, rows, number)
                    report(done, len(candidates))
            rounds = [found for found in self.measured if len(found.rounds) == number]
            if number < len(counts):
                kept = {one.cost.title for one in survivors(rounds, self.groups[-1])}
                candidates = [one for one in candidates if one.cost.title in kept]

    def _ends_in_time(self, candidates: Sequence[_Candidate], rows: Labels) -> bool:
        """Whether a later round may be begun; if not, its networks are named."""
        expected = sum(self._waiting(one, rows)[1] for one in candidates)
        if time.monotonic() + expected <= self.deadline:
            return True
        why = f"measured on {len(self.groups[-1])} images alone: {len(rows)} would take about {duration(expected)} more"
        self.left_out |= {one.cost.title: f"{why} than --minutes allows" for one in candidates}
        return False

    def _waiting(self, one: _Candidate, rows: Labels) -> tuple[FeatureJob, float]:
        """The images of which a network has no features yet, and the seconds that they will take."""
        one.backbone.preprocess = one.preprocess  # the candidates of a backbone share its network
        job = self.session.feature_job(self.dataset.subset(rows.tolist()), one.backbone)
        return job, job.waiting * self._seconds.get(one.cost.title, one.cost.milliseconds / 1000)

    def _measure(self, one: _Candidate, rows: Labels, number: int) -> None:
        cost, backbone = one.cost, one.backbone
        job, expected = self._waiting(one, rows)
        # somebody has to be measured
        if number == 1 and self._measured and time.monotonic() + expected > self.deadline:
            self.left_out[cost.title] = f"not measured within --minutes: about {duration(expected)} more"
            return
        extracted = self.session.features(job)
        if extracted.extraction.computed:
            self._seconds[cost.title] = extracted.extraction.seconds / extracted.extraction.computed
        with self.session.signs_of_life(f"heads on {cost.title}"):
            fits = fit_layers(
                extracted.features,
                self.labels[rows],
                self.all_groups[rows],
                classes=len(self.dataset.classes),
                layers=layer_choices(backbone, "auto"),
            )
        self._measured[cost.title] = self._measured.get(cost.title, Measured(cost=cost, rounds=())).with_round(fits)


def _named(session: Session, backbones: str | Sequence[str]) -> list[tuple[str, str | None]]:
    """(name, file of weights or None) of each candidate; mistakes are found before anything is read."""
    words = backbones.split(",") if isinstance(backbones, str) else list(backbones)
    given = [(name.strip(), file or None) for name, _, file in (str(word).partition("=") for word in words if word)]
    for name, file in given:
        if not find_spec(name).pretrained and file is None:
            raise BackboneError(
                expected="pretrained backbones",
                found=f"{name}, which has random weights",
                where="--backbones",
                hint="headstart backbones lists those with weights.",
            )
        check_backbone(Session(session.recipe, {"backbone": name, "weights": file}))
    here = [spec.name for spec in SPECS.values() if _is_here(spec)]
    return given or [(name, None) for name in (*here, *REGISTERED)]


def _is_here(spec: BackboneSpec) -> bool:
    """Whether a pretrained network of the catalogue can be had without a download."""
    if spec.builder.startswith("timm:") and importlib.util.find_spec("timm") is None:
        return False
    return spec.pretrained and weights_available(spec).path is not None


def _sides(sides: str | Sequence[int]) -> list[int]:
    try:
        return [int(side) for side in (sides.split(",") if isinstance(sides, str) else sides) if str(side).strip()]
    except ValueError:
        raise RecipeError(
            expected="sides in px with commas, such as 160,224",
            found=repr(sides),
            where="--sides",
            hint="Write whole numbers with commas.",
        ) from None


def _load(session: Session, given: tuple[str, str | None]) -> Backbone:
    name, file = given
    return choose_backbone(Session(session.recipe, {"backbone": name, "weights": file}, session.on_event)).backbone


def _candidates(session: Session, named: Sequence[tuple[str, str | None]], sides: Sequence[int]) -> list[_Candidate]:
    """Each backbone at each size, loaded and timed."""
    report, total = session.progress("time the networks", "backbones"), len(named)
    found: list[_Candidate] = []
    for done, given in enumerate(named):
        report(done, total)
        found += _at_sizes(_load(session, given), given, sides)
    report(total, total)
    return found


def _at_sizes(backbone: Backbone, given: tuple[str, str | None], sides: Sequence[int]) -> list[_Candidate]:
    """The candidate at each size that the network takes; one that is asked for and refused is an error."""
    as_trained = backbone.preprocess
    own = as_trained.crop
    wanted = sides or [own, *(max(1, round(own * share / _STEP)) * _STEP for share in _SIDES)]
    megabytes = sum(tensor.numel() for tensor in backbone.state().values()) * 4 / 1e6
    found = []
    for side in dict.fromkeys(wanted):
        backbone.preprocess = as_trained
        try:
            if side != own:
                backbone.set_image_size(side)
        except BackboneError:
            if sides:
                raise
            continue
        cost = NetworkCost(
            backbone=given[0],
            weights=given[1],
            size=0 if side == own else side,
            side=side,
            milliseconds=single_image_ms(backbone, side),
            megabytes=megabytes,
            licence=backbone.weights.licence,
        )
        found.append(_Candidate(backbone, backbone.preprocess, cost))
    return found


def single_image_ms(backbone: Backbone, side: int) -> float:
    """Median time of the forward pass of one image, as `predict` does it."""
    pixels = torch.zeros(1, 3, side, side)
    backbone.features(pixels)  # warms up
    times: list[float] = []
    while len(times) < _TIMED and (len(times) < 2 or sum(times) < _ENOUGH):
        began = time.perf_counter()
        backbone.features(pixels)
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)[(len(times) - 1) // 2]


def _command(source: Path, best: RankedBackbone) -> str:
    network = best.network
    words = ["headstart", "train", str(source), "--backbone", network.backbone]
    words += ["--weights", network.weights] if network.weights else []
    words += ["--size", str(network.size)] if network.size else []
    words += ["--layers", best.fit.layers] if best.fit.layers != Recipe().layers else []
    return shlex.join(words)


def _write(folder: Path, advice: BackboneAdvice) -> None:
    with all_or_none():
        output_folder(folder)
        write_text(folder / JSON, json.dumps(to_plain(advice), indent=1, allow_nan=False))
        with atomic_write(folder / FIGURE, expected="a folder that can be written") as part:
            cost_figure(advice).savefig(part, dpi=150, format="png")  # type: ignore[attr-defined]
        record_files(folder, [JSON, FIGURE])
