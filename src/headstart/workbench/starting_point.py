"""Where a training starts: the backbone named, for `auto` the best one available, or the network of a finished run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headstart.backbones.backbone import Backbone, load_backbone
from headstart.backbones.catalogue import find_spec
from headstart.backbones.flip_tta import FlipTTA
from headstart.backbones.weights import weights_available
from headstart.errors import BackboneError, RunError
from headstart.heads.head import Head
from headstart.workbench.run import Run
from headstart.workbench.session import Session

AUTO = "resnet18"  # small, known to everyone, and 0.94 on ants and bees with a closed-form head
FALLBACK = "embedded"  # comes with headstart


@dataclass(frozen=True)
class StartingPoint:
    """A loaded backbone and, when it was not simply the one named, why it was taken.

    Args:
        head: that fine-tuning starts with; None: one is solved on the backbone's features.
        flip_tta: how that head averaged over flips, and does again if fine-tuning changes nothing.
        continues: whether the weights are those of a run, and so have learnt whatever the backbone's spec says.
    """

    backbone: Backbone
    reason: str = ""
    head: Head | None = None
    flip_tta: FlipTTA | None = None
    continues: bool = False


def check_backbone(session: Session) -> None:
    """Find mistakes in `backbone`, `layers` and `weights` before anything is read or downloaded.

    Raises:
        BackboneError: the backbone or a stage is unknown, or there is no such file.
    """
    recipe, own = session.recipe, session.backbone
    spec = own.spec if own is not None else find_spec(AUTO if recipe.backbone == "auto" else recipe.backbone)
    spec.choose_stages(recipe.layers)
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
            found="no such file",
            where=recipe.weights,
            hint="Check the path of --weights.",
        )


def choose_backbone(session: Session) -> StartingPoint:
    """Load the recipe's backbone; `auto` takes resnet18 if its weights are here or can be downloaded, else `embedded`.

    Raises:
        BackboneError: the backbone is unknown, its weights are not available, or it cannot take images of that size.
    """
    start = _choose(session)
    if session.recipe.size:
        start.backbone.set_image_size(session.recipe.size)
    return start


def continue_from(run: Run) -> StartingPoint:
    """The network of a run; a head that was solved has seen the held-out images and is solved anew without them.

    It starts from the predictions without flips; whether flip TTA helps is measured again after fine-tuning.

    Raises:
        ClassifierError: its file cannot be read.
    """
    model = run.classifier
    flip_tta, model.backbone.flip_tta = model.backbone.flip_tta, None
    head = replace(model.head, flip_tta=False) if model.head.kind == "trained" else None
    return StartingPoint(
        backbone=model.backbone,
        reason=f"continued from {run.folder}",
        head=head,
        flip_tta=flip_tta,
        continues=True,
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
    if recipe.backbone != "auto" or recipe.weights is not None:
        return StartingPoint(_load(AUTO if recipe.backbone == "auto" else recipe.backbone, session))
    where = weights_available(find_spec(AUTO))
    if where.path is None and recipe.offline:
        return _fall_back(session, f"no weights of {AUTO} are on this machine, and --offline forbids downloading them")
    try:
        return StartingPoint(_load(AUTO, session), f"auto: {AUTO}")
    except BackboneError as error:
        if where.path is not None:  # a file that is here and does not fit is no reason to go on in silence
            raise
        return _fall_back(session, f"the weights of {AUTO} could not be downloaded ({error.found})")


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


def _fall_back(session: Session, why: str) -> StartingPoint:
    session.notice(
        f"Using the small network that comes with headstart: {why}. It was trained on drawn pictures; on photographs "
        "ImageNet weights are far better: give a file with --weights FILE."
    )
    return StartingPoint(load_backbone(FALLBACK), f"auto: {why}")
