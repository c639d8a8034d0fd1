"""embed: images as vectors, the features of a pretrained network, for whatever comes after."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from headstart.backbones.backbone import Backbone
from headstart.data.image_set import scan_unlabelled
from headstart.data.image_source import Readable, is_image_source, list_sources, name_of, readable_image
from headstart.data.images import BadImage, read_bytes
from headstart.distributed.engine import On, cluster_of
from headstart.errors import DataError
from headstart.features.extract import ImageFiles, extract_features, open_store
from headstart.features.matrix import Features, constant_stages
from headstart.options import EmbedOptions, takes
from headstart.progress import OnEvent
from headstart.recipe import Recipe
from headstart.wording import listed
from headstart.workbench.prediction_files import check_parquet
from headstart.workbench.session import Session
from headstart.workbench.starting_point import check_backbone, choose_backbone


@takes(EmbedOptions)
def embed(
    images: Any,
    *,
    on: On | None = None,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    on_event: OnEvent | None = None,
    **options: Unpack[EmbedOptions],
) -> Features:
    """Features of images from a pretrained network, computed once and kept in the cache by content.

    Args:
        images: one or several of what `predict` takes; a folder stands for its images sorted by name.
        on: where images are read, see `train`; then `images` is one source, and unreadable ones are left out and named.
        out: also write them as a Parquet file: path, sha256, and a list of numbers for each stage.
        on_event: called with events; quiet unless given.
        options: such as `backbone="auto"`, also a Backbone of your own, and `layers="pooled"`, by default the last
            three stages.

    Returns:
        Features: `matrix` N×D float32 with each stage averaged over its map, `names` and `contents` (N), and `slices`,
        the columns of each stage.

    Raises:
        BackboneError: the backbone is unknown, or its weights are out of reach.
        DataError: an image cannot be read, or there is none.
    """
    named = None if out is None else check_parquet(Path(out))
    own = options.get("backbone")
    own = own if isinstance(own, Backbone) else None
    if own is not None:
        options["backbone"] = own.spec.name
    session = Session(recipe, options, on_event, backbone=own)
    check_backbone(session)
    if on is not None:
        from headstart.workbench.on_cluster import embed_on, source_path  # they need pyarrow

        backbone = choose_backbone(session).backbone
        stages, source = backbone.spec.choose_stages(session.recipe.layers), source_path(session, images)
        features = embed_on(session, cluster_of(on), backbone, source=source, stages=stages)
    else:
        features = _embed_here(session, images)
    if named is not None:
        from headstart.workbench.on_cluster import write_embeddings

        write_embeddings(named, features)
    return features


def _embed_here(session: Session, images: Any) -> Features:
    given = _images(images, session)
    backbone = choose_backbone(session).backbone
    if session.recipe.weights is not None:
        session.notice(f"Weights: {backbone.weights.source}.")  # of a checkpoint also which of its entries
    stages = backbone.spec.choose_stages(session.recipe.layers)
    files = ImageFiles(
        paths=tuple(image for _, image in given),
        names=tuple(name for name, _ in given),
        contents=tuple(_content(name, image) for name, image in given),
        rules=session.rules,
    )
    store = open_store(session.cache, backbone, session.rules)
    waiting = len({content for content in files.contents if content not in store})
    features, _ = extract_features(
        files,
        backbone,
        session.engine(backbone, waiting),
        store,
        batch_size=session.recipe.batch_size,
        workers=session.workers,
        progress=session.progress("extract features"),
    )
    session.cache.shrink(keep=store)
    chosen = features.of_stages(stages)
    constant = constant_stages(chosen) if len(set(chosen.contents)) > 1 else ()
    if constant:
        gives = "gives" if len(constant) == 1 else "give"
        session.notice(f"Constant features: {listed(constant, 6)} {gives} the same numbers for all images.")
    return chosen


def _images(images: Any, session: Session) -> list[tuple[str, Readable]]:
    several: Sequence[object] = images if isinstance(images, (list, tuple)) else ()
    if not several:
        one = isinstance(images, (str, os.PathLike)) or is_image_source(images)
        several = [images] if one else list_sources(images)
    found: list[tuple[str, Readable]] = []
    for source in several:
        if isinstance(source, (str, os.PathLike)) and "://" not in str(source):
            found += [(str(path), path) for path in scan_unlabelled([Path(source)], on_skip=session.notice)]
        else:
            found.append((name_of(source), readable_image(source, network=not session.recipe.offline)))
    if not found:
        raise DataError(
            expected="at least one image",
            found="none",
            where="embed",
            hint="Name a folder with images, or images themselves.",
        )
    return found


def _content(name: str, image: Readable) -> str:
    """SHA-256, hex, of a file's bytes, or of the size and values of pixels."""
    if isinstance(image, np.ndarray):
        return hashlib.sha256(b"%d %d " % image.shape[:2] + image.tobytes()).hexdigest()
    try:
        return hashlib.sha256(image if isinstance(image, bytes) else read_bytes(image)).hexdigest()
    except BadImage as bad:
        raise DataError(
            expected="an image that can be read",
            found=bad.reason,
            where=name,
            hint="Leave this image out, or save it again.",
        ) from bad
