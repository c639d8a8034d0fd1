"""A drawn data set: rock, paper and scissors hands from a seed, with other hands for the test than for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.datasets import hand_relief as relief
from headstart.datasets import hand_scene as scene
from headstart.datasets import hand_shapes as shapes
from headstart.datasets.hand_scene import Skin
from headstart.datasets.hand_shapes import Array, Build, Pose, View, vector
from headstart.errors import DataError, near
from headstart.files import make_folder, os_errors, work_folder
from headstart.progress import OnProgress, no_progress
from headstart.public_api import public_api

HAND_CLASSES = ("paper", "rock", "scissors")
FRAMES_PER_HAND = 3  # in each class: few frames of many hands teach more than many frames of few
FIRST_TEST_HAND = 500  # lower numbers are for training: the two never overlap, whatever the size of the data set
_SUPERSAMPLING = 2  # 4 samples in a pixel: 3 × 3 gives the same picture after the camera and takes twice the time
_CLOTHS = (
    (32, 44, 82),
    (120, 28, 36),
    (60, 60, 64),
    (214, 210, 200),
    (44, 92, 68),
    (198, 160, 64),
    (112, 132, 168),
    (24, 24, 26),
)
_POLISH = ((170, 20, 48), (60, 40, 120), (230, 120, 150), (30, 30, 36))


@dataclass(frozen=True)
class Hand:
    """One person's hand: properties that all its pictures share."""

    build: Build
    skin: Skin
    is_left: bool
    spread: float  # how widely this person opens the fingers, 1 is average
    crook: float  # radians by which its straight fingers bend
    tilt: Array  # usual rotation of the hand about x, y, z in radians
    shows_back: float  # share of the pictures with the back of the hand


@public_api
def draw_hand(kind: str, *, seed: int, identity: int | None = None, size: int = 128) -> Image.Image:
    """Picture of one hand that shows rock, paper or scissors; the same numbers give the same bits.

    Args:
        kind: one of HAND_CLASSES.
        seed: pose, light, backdrop and camera.
        identity: whose hand (tone, proportions, sleeve, habits); from the seed when left out.
        size: side in pixels, at least 16.

    Returns:
        RGB, size × size.

    Raises:
        DataError: the kind is unknown, the size too small or a number negative.
    """
    if kind not in HAND_CLASSES:
        raise DataError(
            expected="paper, rock or scissors", found=repr(kind), where="kind", hint=near(kind, HAND_CLASSES)
        )
    if size < 16:
        raise DataError(expected="a size of at least 16 pixels", found=str(size), where="size", hint="Use 64 or more.")
    owner = seed if identity is None else identity
    if min(seed, owner) < 0:
        raise DataError(expected="a seed and an identity of 0 or more", found=f"{seed} and {owner}", where="draw_hand")
    hand = _hand(owner)
    # the class is not in the seed of light and backdrop, so these carry no information about it
    rng = np.random.default_rng([seed, 11])
    side = size * _SUPERSAMPLING
    wall, light = scene.backdrop(rng, side), scene.lamp(rng)
    is_back = bool(rng.random() < hand.shows_back)
    parts = shapes.build_hand(hand.build, _pose(kind, hand, rng))
    rotation = _rotation(kind, hand, rng, is_back=is_back)
    view = _frame(parts, rotation, side, rng=rng)
    lines = relief.palm_lines(view, hand.build.palm_width)
    ground = relief.raise_hand(shapes.place(parts, view), lines, view)
    picture = scene.paint(ground, hand.skin, light, wall=wall, scale=view.scale, rng=rng)
    return scene.photograph(picture, size, rng)


@public_api
def draw_hands(
    folder: Path,
    *,
    train_per_class: int = 60,
    test_per_class: int = 30,
    seed: int = 0,
    size: int = 128,
    progress: OnProgress = no_progress,
) -> Path:
    """Write `train/CLASS/hand007-003.png` and `test/CLASS/…`; no hand is in both splits.

    The name contains the hand (7) and its frame (3), so that the pictures of one hand can be kept together. PNG,
    because it keeps the pixels: the same seed gives the same data set whatever JPEG library is installed.

    Args:
        folder: must not exist, or be empty; it appears when the last picture is written, never incomplete.
        progress: called with (pictures done, pictures in all); an exception from it stops the drawing, nothing is left.

    Raises:
        DataError: the folder holds something, or a number is out of range.
    """
    folder = Path(folder)
    _check_folder(folder)
    _check_numbers(train_per_class, test_per_class, seed)
    wanted = [*_plan("train", train_per_class, 0), *_plan("test", test_per_class, FIRST_TEST_HAND)]
    with work_folder(folder, kind=DataError) as drawn, os_errors(folder, kind=DataError):
        for done, (split, kind, number, frame) in enumerate(wanted, start=1):
            target = make_folder(drawn / split / kind, kind=DataError)
            own = int(np.random.SeedSequence([seed, number, frame]).generate_state(1)[0])
            picture = draw_hand(kind, seed=own, identity=seed * 1000 + number, size=size)
            picture.save(target / f"hand{number:03d}-{frame:03d}.png", compress_level=1)
            progress(done, len(wanted))
        if folder.exists():
            folder.rmdir()  # empty: Windows cannot rename onto it
        drawn.rename(folder)
    return folder


def _check_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            expected="a new or empty folder", found="one that is in use", where=folder, hint="Choose another folder."
        )


def _check_numbers(train_per_class: int, test_per_class: int, seed: int) -> None:
    if seed < 0:
        raise DataError(expected="a seed of 0 or more", found=str(seed), where="draw_hands")
    if train_per_class < 1 or test_per_class < 0:
        found = f"{train_per_class} and {test_per_class}"
        raise DataError(expected="at least 1 training and 0 test pictures of a class", found=found, where="draw_hands")


def _plan(split: str, per_class: int, first_hand: int) -> list[tuple[str, str, int, int]]:
    """Split, class, hand and frame of every picture; every hand shows all classes, its frames numbered throughout."""
    frames = max(FRAMES_PER_HAND, -(-per_class // FIRST_TEST_HAND))
    return [
        (split, kind, first_hand + index // frames, order * frames + index % frames)
        for order, kind in enumerate(HAND_CLASSES)
        for index in range(per_class)
    ]


def _hand(identity: int) -> Hand:
    rng = np.random.default_rng([identity, 7])
    # golden-section steps: any few neighbouring hands span the tones evenly
    tone = (identity * 0.6180339887 + 0.13) % 1.0
    build = Build(
        finger_lengths=tuple(float(v) for v in rng.normal(1, 0.035, 4) * rng.uniform(0.9, 1.1)),
        thickness=float(rng.uniform(0.88, 1.12)),
        palm_width=float(rng.uniform(0.92, 1.08)),
        nail=float(rng.uniform(0.85, 1.25)),
        sleeve_from=float(rng.choice([0.3, 0.5, 0.9, 9.0]) + rng.uniform(0, 0.2)),
        sleeve_radius=float(rng.uniform(0.25, 0.33)),
    )
    cloth, stripe = (scene.between((_CLOTHS[i],) * 2, 0) for i in rng.permutation(len(_CLOTHS))[:2])
    polish = scene.between((_POLISH[int(rng.integers(len(_POLISH)))],) * 2, 0) if rng.random() < 0.2 else None
    skin = Skin(
        tone=tone,
        flush=float(rng.uniform(0.5, 1.5)),
        polish=polish,
        cloth=cloth,
        stripe=stripe,
        stripe_width=float(rng.choice([0, 0, 0.12, 0.3])),
    )
    return Hand(
        build=build,
        skin=skin,
        is_left=bool(rng.random() < 0.5),
        spread=float(rng.uniform(0.6, 1.25)),
        crook=float(rng.uniform(0.03, 0.14)),
        tilt=rng.normal(0, 1, 3).astype(np.float32) * vector(0.1, 0.16, 0.22),
        shows_back=float(rng.uniform(0.1, 0.7)),
    )


def _pose(kind: str, hand: Hand, rng: np.random.Generator) -> Pose:
    """Joint angles of one picture."""
    spread = vector(0.14, 0.02, -0.12, -0.28) * np.float32(hand.spread * rng.uniform(0.7, 1.3))
    bend = rng.uniform(0, 1, (4, 3)).astype(np.float32) * np.float32(0.12) + np.float32(hand.crook)
    thumb, thumb_back = _OPEN_THUMB, vector(0.35, 0.3, -0.85)
    if kind != "paper":
        curled = slice(0, 4) if kind == "rock" else slice(2, 4)
        spread[curled] = spread[curled] * np.float32(0.12)
        bend[curled] = vector(1.35, 1.8, 1.0) + rng.normal(0, 0.05, (4, 3)).astype(np.float32)[curled]
        thumb, thumb_back = (_FIST_THUMB if kind == "rock" else _SCISSORS_THUMB), vector(0.1, -0.35, 0.9)
    if kind == "scissors":
        half = np.float32(rng.uniform(0.15, 0.27) * (0.7 + 0.3 * hand.spread))
        spread[:2] = vector(0.06, 0.0) + vector(1, -1) * half
    thumb = thumb + rng.normal(0, 0.018, (4, 3)).astype(np.float32) * vector(0, 0.5, 1, 1)[:, None]
    wrist = (float(rng.normal(0, 0.12)), float(rng.normal(0, 0.15)))
    return Pose(spread=spread, bend=bend, thumb=thumb.astype(np.float32), thumb_back=thumb_back, wrist=wrist)


_OPEN_THUMB = np.array([(0.27, 0.14, 0.07), (0.52, 0.42, 0.12), (0.76, 0.68, 0.14), (0.92, 0.9, 0.14)], np.float32)
_FIST_THUMB = np.array([(0.27, 0.14, 0.1), (0.5, 0.42, 0.3), (0.4, 0.6, 0.66), (0.08, 0.64, 0.7)], np.float32)
_SCISSORS_THUMB = np.array([(0.27, 0.14, 0.1), (0.46, 0.42, 0.3), (0.26, 0.6, 0.58), (-0.06, 0.68, 0.68)], np.float32)


def _rotation(kind: str, hand: Hand, rng: np.random.Generator, *, is_back: bool) -> Array:
    """3×3 matrix from model to picture: the person's habit, this picture's swing, back or palm, left or right hand."""
    swing = hand.tilt + rng.normal(0, 1, 3).astype(np.float32) * vector(0.14, 0.2, 0.22)
    about_x, about_y, about_z = (float(v) for v in np.clip(swing, -0.6, 0.6))
    if kind == "rock" and is_back:
        about_x = 0.6 * abs(about_x) + 0.2  # makes the knuckles and what is behind them visible
    rotation = _about(2, about_z) @ _about(0, about_x) @ _about(1, about_y + (np.pi if is_back else 0.0))
    handedness = np.diag([-1.0 if hand.is_left else 1.0, 1.0, 1.0])
    y_down = np.diag([1.0, -1.0, 1.0])  # y points down in a picture
    return np.asarray(y_down @ rotation @ handedness, np.float32)


def _about(axis: int, angle: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    c, s = float(np.cos(angle)), float(np.sin(angle))
    one, other = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[one, one] = rotation[other, other] = c
    rotation[one, other], rotation[other, one] = -s, s
    return rotation


def _frame(parts: dict[str, tuple[shapes.Bar, ...]], rotation: Array, side: int, *, rng: np.random.Generator) -> View:
    """Scale and position such that every kind fills about the same share of the picture."""
    unscaled = View(rotation=rotation, scale=1.0, origin=vector(0, 0), side=side)
    low, high = shapes.extent(shapes.place(parts, unscaled))
    width, height = (float(v) for v in (high - low)[:2])
    share = rng.uniform(0.62, 0.86)
    scale = min(share * side / max(width, height), 0.44 * side)
    margin = (side - scale * vector(width, height)) * rng.uniform(0.2, 0.8, 2)
    origin = np.asarray(margin - scale * low[:2], np.float32)
    return View(rotation=rotation, scale=float(scale), origin=origin, side=side)
