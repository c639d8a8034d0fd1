"""Cached activations: computed once for each image, view and background; half precision is close."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fine_tune_set import STILL, backbone, make_head, make_images, scores_of, task
from headstart.errors import TrainingError
from headstart.features.cache import FeatureCache
from headstart.finetune.augmentation import Augmentation
from headstart.finetune.settings import FineTuneImages
from headstart.finetune.strategies import last_stage
from headstart.heads.head import Head


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> FineTuneImages:
    return make_images(tmp_path_factory.mktemp("fine-tune"))


@pytest.fixture(scope="module")
def head(images: FineTuneImages) -> Head:
    return make_head(images)


@pytest.mark.slow
def test_a_second_time_nothing_before_the_boundary_is_run(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    cache, progress = FeatureCache(tmp_path, 1e9), list[tuple[int, ...]]()
    settings = dataclasses.replace(STILL, augmentation=Augmentation(), cached_views=3)
    for _ in range(2):
        last_stage(
            task(
                backbone(),
                head,
                images,
                settings,
                until="stage3",
                cache=cache,
                progress=lambda *done: progress.append(done),
            )
        )
    wanted = 3 * len(images.rows) + len(images.validation_rows)
    assert progress[-1] == (wanted, wanted)
    assert len(progress) == -(-wanted // 32)


@pytest.mark.slow
def test_the_same_images_on_another_background_are_run_anew(images: FineTuneImages, head: Head, tmp_path: Path) -> None:
    cache, progress = FeatureCache(tmp_path, 1e9), list[tuple[int, ...]]()
    for background in ((255, 255, 255), (0, 0, 0)):
        on = dataclasses.replace(images, background=background)
        last_stage(
            task(backbone(), head, on, STILL, until="stage3", cache=cache, progress=lambda *done: progress.append(done))
        )
    wanted = len(images.rows) + len(images.validation_rows)
    assert progress.count((wanted, wanted)) == 2


@pytest.mark.slow
def test_half_precision_activations_give_nearly_the_same_answers(
    images: FineTuneImages, head: Head, tmp_path: Path
) -> None:
    answers = []
    for dtype in ("float32", "float16"):
        made = backbone()
        settings = dataclasses.replace(STILL, dtype=dtype)
        tuned = last_stage(task(made, head, images, settings, until="stage3", cache=FeatureCache(tmp_path, 1e9)))
        answers.append(scores_of(made, tuned.head, images))
    assert (answers[0].argmax(1) == answers[1].argmax(1)).all()


def test_without_a_cache_there_is_no_last_stage(images: FineTuneImages, head: Head) -> None:
    with pytest.raises(TrainingError, match="a cache for activations"):
        last_stage(task(backbone(), head, images, until="stage3"))
