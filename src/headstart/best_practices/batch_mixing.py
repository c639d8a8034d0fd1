"""Rules about the images of a batch: each has its own row in the output, which depends on no other image."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.best_practices.examination import Examination, NotCheckedError
from headstart.best_practices.rule import Issue, register_rule
from headstart.inspection.graph import DROPOUTS


@register_rule(
    "images mixed across the batch",
    "error",
    why="In eval mode the output for an image must not depend on the other images of its batch: a reshape or a mean "
    "over the wrong axis mixes them, and training still runs.",
    source="measured: the same image with others and alone",
    fix="Keep the first axis: x.flatten(1) instead of view(-1, …), mean over axes 1 and up, softmax over dim=1; after "
    "permute use reshape with the batch size first.",
)
def images_mixed(examination: Examination) -> Iterator[Issue]:
    """The output for an image with others and alone; batch norms have a rule of their own."""
    norms = [examination.graph.operations[index] for index in examination.graph.find("batch_norm")]
    if any(one.trains and one.from_pixels for one in norms):
        raise NotCheckedError("running statistics in every batch norm: these mix images themselves")
    passes = examination.paired_passes
    if passes.mixes:
        yield Issue((), "the output for an image is another one when there are other images in its batch")


@register_rule(
    "random output in eval mode",
    "warning",
    why="The same image gets another answer each time: no accuracy and no probability can be measured twice.",
    source="torch.nn.Module.eval; measured: the same images twice",
    fix="Draw random numbers only where self.training is true, and build layers in __init__, not in forward.",
)
def random_output(examination: Examination) -> Iterator[Issue]:
    """Two passes over the same images; dropout has a rule of its own."""
    graph = examination.graph
    if any(graph.operations[index].trains and graph.operations[index].p > 0 for index in graph.find(*DROPOUTS)):
        raise NotCheckedError("dropout that is off in eval mode")
    if examination.paired_passes.random:
        yield Issue((), "the same images give another output each time")


@register_rule(
    "batch of one image",
    "warning",
    why="The last batch of an epoch, and a single image in use, is a batch of one: squeeze() then removes the batch "
    "axis as well, and the loss or the next layer fails.",
    source="torch.squeeze",
    fix="Name the axes: x.squeeze(-1).squeeze(-1) or x.flatten(1).",
)
def batch_of_one(examination: Examination) -> Iterator[Issue]:
    """The output for one image in eval mode against that for two."""
    passes = examination.paired_passes
    if passes.alone:
        yield Issue((), f"one image gives {passes.alone}")


@register_rule(
    "rows and images differ",
    "error",
    why="A network must give one row per image: another number means that a reshape moved features into the batch "
    "axis, or images into the features.",
    source="torch.Tensor.view",
    fix="Flatten with x.flatten(1), and give the first linear layer the number of features that arrives.",
)
def rows_and_images_differ(examination: Examination) -> Iterator[Issue]:
    """The first axis of the output, for two images or more."""
    passes = examination.paired_passes
    if passes.rows is None:
        raise NotCheckedError("an output that is a tensor")
    if passes.rows != passes.images:
        yield Issue((), f"{passes.rows} rows for {passes.images} images")
