"""The plan that `train` shows before the long part: what is used, what is frozen, what it will cost."""

from __future__ import annotations

from torch.nn.modules.batchnorm import _BatchNorm

from headstart.backbones.backbone import Backbone
from headstart.engines.int8 import similarity_of
from headstart.wording import duration
from headstart.workbench.session import FeatureJob, Session
from headstart.workbench.starting_point import StartingPoint


def plan_rows(session: Session, start: StartingPoint, job: FeatureJob) -> dict[str, str]:
    """Label → text, in the order to show."""
    backbone, spec, recipe = start.backbone, start.backbone.spec, session.recipe
    images, waiting = len(job.files.paths), job.waiting
    megabytes = images * sum(backbone.widths) * 4 * 2 / 1e6  # float32, once in the cache and once in the run
    seconds = (job.engine.seconds_per_image or 0.0) * waiting
    side = backbone.preprocess.crop
    untrained = "" if spec.pretrained else "untrained (random weights): "
    has_norms = any(isinstance(module, _BatchNorm) for module in backbone.network.modules())
    norms = ", weights and batch-norm statistics" if has_norms else ""
    because = f", {start.reason}" if start.reason else ""
    return {
        "backbone": f"{spec.title} ({spec.parameters:.1f} M parameters, {side}×{side} px){because}",
        "weights": f"{untrained}{backbone.weights.source}",
        "licence": backbone.weights.licence,
        "frozen": f"the whole backbone{norms}; only the head is trained",
        **_precision(backbone),
        "head": f"{recipe.head} on {', '.join(spec.choose_stages(recipe.layers))}, each scaled to unit length",
        "engine": f"{job.engine.name}: {job.engine.reason}",
        "cached": f"features of {images - waiting:,} of {images:,} images, {waiting:,} to compute",
        "time": f"about {duration(seconds)} for the features" if waiting else "seconds: all features are cached",
        "disk": f"about {megabytes:.0f} MB for features, half of it in the cache",
    }


def _precision(backbone: Backbone) -> dict[str, str]:
    low = backbone.low_precision
    if low is None:
        return {}
    if not low.model:
        return {"precision": "bfloat16; the head is solved on its features"}
    alike = similarity_of(low.model)
    return {
        "precision": f"int8, calibrated on training images; the head is solved on its features (cosine with the "
        f"float32 ones at least {alike:.3f}, mean of a stage)"
    }


def layer_choices(backbone: Backbone, layers: str) -> dict[str, tuple[str, ...]]:
    """The stages asked for, then the usual alternatives to show beside them; no set of stages twice.

    Raises:
        BackboneError: a name is not a stage.
    """
    chosen = {layers: backbone.spec.choose_stages(layers)}
    for word in ("pooled", "last-two", "last-three", "all"):
        stages = backbone.spec.choose_stages(word)
        if stages not in chosen.values():
            chosen[word] = stages
    return chosen
