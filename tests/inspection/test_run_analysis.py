"""run_analysis: what an analysis needs is checked, then its function is called with it."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from headstart.errors import DataError, RecipeError
from headstart.inspection.catalogue import ANALYSES, register_analysis
from headstart.inspection.inspected_images import InspectedImages
from headstart.inspection.inspection_result import InspectionResult, SimpleResult, Table
from headstart.inspection.run_analysis import run_analysis
from headstart.inspection.weights.filters import Filters


class Small(nn.Sequential):
    """A convolution and a head for two classes."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


PIXELS = torch.rand(2, 3, 16, 16)
IMAGES = InspectedImages(PIXELS, ("a", "b"))
LABELLED = InspectedImages(PIXELS, ("a", "b"), labels=torch.tensor([0, 1]), classes=("x", "y"))


@register_analysis("test-labels", about="labels", needs="labels", in_all=False)
def count_labels(model, images, *, seed=0):
    return SimpleResult(f"{len(images.labels)} labels, seed {seed}", "Nothing to do.")


@register_analysis("test-before", about="two models", needs="before", in_all=False)
def two_models(before, model, images):
    return SimpleResult(f"{type(before).__name__} and {type(model).__name__}", "Nothing to do.")


@register_analysis("test-nothing", about="returns nothing", in_all=False)
def nothing(model, images):
    """Forget the result."""


def test_an_own_analysis_is_run_by_its_name():
    assert isinstance(run_analysis("filters", Small(), IMAGES), Filters)


def test_labels_and_the_seed_reach_the_function():
    assert run_analysis("test-labels", Small(), LABELLED, seed=7).title == "2 labels, seed 7"


def test_the_model_before_comes_first():
    network = nn.Linear(2, 2)
    assert run_analysis("test-before", Small(), IMAGES, before=network).title == "Linear and Small"


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("test-labels", DataError, "images with labels"),
        ("test-before", RecipeError, "second model"),
        ("similarity", RecipeError, "second model"),
        ("preprocessing", DataError, "before normalisation"),
        ("test-nothing", RecipeError, "analysis 'test-nothing' of the script.*NoneType, expected an InspectionResult"),
    ],
)
def test_what_is_missing_is_named(name, error, words):
    with pytest.raises(error, match=words):
        run_analysis(name, Small(), IMAGES)


class Bare(InspectionResult):
    """Lacks what a result has."""


def result(**parts):
    return SimpleResult("title", "words", **parts)


@pytest.mark.parametrize(
    ("spoiled", "found"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: sys.exit(3), "it called sys.exit"),
        (Bare, "TypeError"),
        (lambda: SimpleResult("title", [None]), "NoneType in the place of a text"),
        (lambda: result(tables="ab"), "str in the place of a headstart.Table"),
        (lambda: result(tables=[Table("t", ("a", "b"), ((1,),))]), "rows of another length than the 2 columns"),
        (lambda: result(tables=[Table("t", ("a",), ((torch.ones(2),),))]), "a cell of Tensor"),
        (lambda: result(figure="plot"), "str in the place of a matplotlib Figure"),
    ],
)
def test_an_analysis_from_outside_that_fails_is_named(spoiled, found):
    register_analysis("mine")(lambda model, images: spoiled())
    try:
        with pytest.raises(RecipeError, match=rf"analysis 'mine' of the script that registers it, found.*{found}"):
            run_analysis("mine", Small(), IMAGES)
    finally:
        ANALYSES.remove("mine")


def test_one_from_outside_leaves_model_images_and_torch_as_they_were():
    def careless(model, images):
        images.pixels.zero_()
        model.train()
        model.register_forward_hook(lambda *given: 1 / 0)
        for parameter in model.parameters():
            parameter.data.zero_()
        torch.set_default_dtype(torch.float64)
        return result()

    network = Small().eval()
    before = network(PIXELS)
    register_analysis("mine")(careless)
    try:
        assert run_analysis("mine", network, IMAGES).title == "title"
    finally:
        ANALYSES.remove("mine")
    assert torch.equal(network(PIXELS), before)
    assert not network.training
    assert PIXELS.abs().sum() > 0
    assert torch.get_default_dtype() == torch.float32
