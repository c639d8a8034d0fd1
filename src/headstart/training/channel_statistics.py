"""Channel statistics: mean and deviation of every colour channel over a loader, and the normalisation made of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import TrainingError
from headstart.preserve import preserve
from headstart.training.batch import unpack
from headstart.training.loaders import check_iterable, generators_of

METHODS = ("pooled", "per_image")


def statistics_per_channel(images: Tensor, labels: Any) -> Tensor:
    """Sums over a batch for the mean of images' means and deviations, as in the book.

    Args:
        images: N×C×H×W. labels: of the batch; not used.

    Returns:
        3×C: number of images, sum of their means, sum of their standard deviations (of the sample, n - 1), by channel.

    Raises:
        TrainingError: the images have another shape.
    """
    pixels = _by_channel(images)
    number = torch.full((pixels.shape[1],), float(len(pixels)), device=pixels.device)
    return torch.stack([number, pixels.mean(dim=2).sum(dim=0), pixels.std(dim=2).sum(dim=0)])


def loader_apply(
    loader: Any, func: Callable[[Any, Any], Tensor], reduce: str | None = "sum", *, keep_random: bool = True
) -> Tensor:
    """A function of (input, target) over every batch; random numbers are restored afterwards.

    Args:
        reduce: `sum`; `mean`, in which every batch weighs the same, however large; else one row per batch.
        keep_random: False leaves the random numbers as the loader leaves them, as the book does.

    Raises:
        TrainingError: the loader gives nothing.
    """
    check_iterable(loader, "loader_apply")
    with _random_kept(loader, keep_random):
        results = [func(*unpack(batch)) for batch in loader]
    if not results:
        raise _no_batch()
    stacked = torch.stack(_alike(results, getattr(func, "__name__", type(func).__name__)))
    if reduce == "sum":
        return stacked.sum(dim=0)
    return stacked.float().mean(dim=0) if reduce == "mean" else stacked


def _alike(results: list[Any], name: str) -> list[Tensor]:
    """Results of batches, where they can be stacked."""
    kinds = {f"a {type(one).__name__}" for one in results if not isinstance(one, Tensor)}
    shapes = sorted({str(tuple(one.shape)) for one in results if isinstance(one, Tensor)})
    if kinds or len(shapes) > 1:
        raise TrainingError(
            expected="a tensor of one shape for each batch, however large",
            found=" and ".join([*sorted(kinds), *shapes]),
            where=name,
            hint="Return sums over the batch, as torch.tensor([...]).",
        )
    return results


def make_normalizer(loader: Any, method: str = "pooled", *, keep_random: bool = True) -> nn.Module:
    """A `Normalize` that gives the loader's channels a mean of 0 and, by the pooled method, a deviation of 1.

    Args:
        method: `pooled`, the deviation over all pixels of all images; `per_image`, the book's mean of the images' own
            deviations, which leaves out how images differ in brightness, and so is too small.
        keep_random: as for `loader_apply`.

    Raises:
        TrainingError: the loader gives nothing, the method is unknown, or a channel is the same everywhere.
    """
    if method not in METHODS:
        raise TrainingError(expected="method 'pooled' or 'per_image'", found=repr(method), where="make_normalizer")
    if method == "pooled":
        mean, std = _pooled(loader, keep_random)
    else:
        number, means, stds = loader_apply(loader, statistics_per_channel, keep_random=keep_random)
        mean, std = means / number, stds / number
    if not bool((torch.isfinite(std) & (std > 0)).all()):
        raise TrainingError(
            expected="channels in which pixels differ",
            found=f"deviations {[round(value, 6) for value in std.tolist()]}",
            where="make_normalizer",
            hint="Dividing by 0 gives no numbers: are the images all of one colour?",
        )
    from torchvision.transforms import Normalize  # type: ignore[import-untyped]  # as long to import as torch

    normalizer: nn.Module = Normalize(mean=mean, std=std)
    return normalizer


def _pooled(loader: Any, keep_random: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation (of the population) by channel over all pixels, in one pass.

    Batches are joined by means and squared distances from them, in double precision: sums of squares would lose the
    deviation of bright, even images. Source: Chan, Golub & LeVeque 1983, section 2, formula 2.1.
    """
    count, mean, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    check_iterable(loader, "make_normalizer")
    with _random_kept(loader, keep_random):
        for batch in loader:
            pixels = _by_channel(unpack(batch)[0]).double().cpu()
            number, its_mean = pixels.shape[0] * pixels.shape[2], pixels.mean(dim=(0, 2))
            its_squares = (pixels - its_mean[:, None]).square().sum(dim=(0, 2))
            gap, total = its_mean - mean, count + number
            mean = mean + gap * number / total
            squares = squares + its_squares + gap.square() * count * number / total
            count = total
    if not count:
        raise _no_batch()
    return mean.float(), (squares / count).sqrt().float()


def _random_kept(loader: Any, keep_random: bool) -> AbstractContextManager[None]:
    return preserve(generators=generators_of(loader)) if keep_random else nullcontext()


def _by_channel(images: Any) -> Tensor:
    """N×C×H×W → N×C×HW, as floats."""
    if not isinstance(images, Tensor) or images.dim() != 4:
        found = f"{tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise TrainingError(
            expected="images as one tensor N×C×H×W", found=found, where="loader", hint="Add ToTensor to the transforms."
        )
    flat = images.flatten(start_dim=2)
    return flat if flat.is_floating_point() else flat.float()


def _no_batch() -> TrainingError:
    return TrainingError(expected="a loader with at least one batch", found="none", where="loader")
