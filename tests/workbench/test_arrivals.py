"""Arrivals: decoded once, bounded in memory; what waits is absorbed in the order in which it came."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from headstart.data.images import BadImage
from headstart.features.extract import open_store
from headstart.workbench import arrivals
from headstart.workbench.arrivals import Arrivals
from headstart.workbench.live_head import LiveHead
from headstart.workbench.session import Session
from studio.studio_client import png


@pytest.fixture
def live() -> LiveHead:
    return LiveHead(Session(None, {"backbone": "random", "offline": True}))


def absorb(waiting: Arrivals, live: LiveHead) -> int:
    return waiting.absorb(live.start, lambda _: live.start.backbone.features)


def rows_of(live: LiveHead, images: list[bytes]) -> list[bool]:
    store = open_store(live.session.cache, live.start.backbone, live.session.rules)
    return [hashlib.sha256(data).hexdigest() in store for data in images]


def test_features_are_those_of_the_network_on_the_pixels_that_were_decoded(live: LiveHead) -> None:
    waiting, images = Arrivals(live.session), [png(seed, side=40) for seed in range(3)]
    assert absorb(waiting, live) == 0
    opened = [waiting.open(data, live.session.rules) for data in images]
    assert len(waiting) == 3

    assert absorb(waiting, live) == 3
    assert len(waiting) == 0

    backbone = live.start.backbone
    store = open_store(live.session.cache, backbone, live.session.rules)
    contents = [hashlib.sha256(data).hexdigest() for data in images]
    for positions, rows in store.read(contents):
        for position, row in zip(positions, rows, strict=True):
            pixels = backbone.preprocess.prepare(opened[position].rgb)[None]
            alone = backbone.features(backbone.preprocess.normalise(pixels))[0]
            np.testing.assert_allclose(row, alone.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_what_is_too_much_is_left_to_be_decoded_again(live: LiveHead, monkeypatch: pytest.MonkeyPatch) -> None:
    side = live.start.backbone.preprocess.crop
    monkeypatch.setattr(arrivals, "_MOST_BYTES", 2 * 3 * side * side)
    monkeypatch.setattr(arrivals, "_MOST", 4)
    waiting, images = Arrivals(live.session), [png(seed, side=40) for seed in range(6)]
    absorb(waiting, live)
    for data in images:
        waiting.open(data, live.session.rules)

    assert absorb(waiting, live) == 4  # facts of four, pixels of two
    assert rows_of(live, images) == [True, True, False, False, False, False]


def test_a_few_at_a_time_the_first_ones_first(live: LiveHead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_AT_ONCE", 2)
    waiting, images = Arrivals(live.session), [png(seed, side=40) for seed in range(3)]
    absorb(waiting, live)
    for data in (*images, images[0]):
        waiting.open(data, live.session.rules)

    assert absorb(waiting, live) == 2
    assert rows_of(live, images) == [True, True, False]
    assert absorb(waiting, live) == 1


def test_an_image_that_cannot_be_used_does_not_wait(live: LiveHead) -> None:
    waiting = Arrivals(live.session)
    with pytest.raises(BadImage):
        waiting.open(b"text", live.session.rules)
    assert len(waiting) == 0
