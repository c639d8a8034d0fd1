"""Diagnostics of StepByStep: predictions, counts and figures of its model; thin methods over functions elsewhere.

None leaves a trace: weights, buffers, gradients, optimiser, modes and random numbers are as they were, also on failure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from headstart.backbones.preprocess import Preprocess
from headstart.classifier.classifier import Classifier
from headstart.data.images import open_image
from headstart.errors import TrainingError, first_line
from headstart.figures.feature_maps import feature_maps_figure
from headstart.figures.filters import filters_figure
from headstart.figures.images import draw_image_row
from headstart.figures.loss_curves import losses_figure
from headstart.figures.lr_range import LrCurve, lr_range_figure
from headstart.figures.notebook import shown_in_notebook
from headstart.preserve import preserve
from headstart.training.batch import logits_of, run_model, to_device, unpack
from headstart.training.captures import (
    attach_gradients,
    attach_outputs,
    attach_parameters,
    outputs_of,
    paused,
    remove_hooks,
)
from headstart.training.channel_statistics import loader_apply, make_normalizer, statistics_per_channel
from headstart.training.layers import filters_of
from headstart.training.loaders import generators_of
from headstart.training.loop_state import BOOK
from headstart.training.lr_range import LrRange, RangeTest, lr_range_test
from headstart.training.output_kind import output_kind, probabilities, several_labels, watched_outputs
from headstart.training.settings import LoopSettings
from headstart.training.to_classifier import to_classifier
from headstart.training.wrappers import unwrapped

CHUNK = 256
"""Samples that `predict` sends through at once: enough for the matrix products, little memory beside the weights."""

FILTER_OPTIONS = ("cmap", "max_filters", "max_channels", "by_channel")
"""What `visualize_filters` takes."""


class Diagnostics(LoopSettings):
    """The diagnostic methods of StepByStep.

    Attributes:
        visualization: layer → outputs that its hook has collected.
        handles: name → placed hook.
        lr_range: the latest range test, with its suggestion.
    """

    def _prepare(self) -> None:
        super()._prepare()
        self.visualization: dict[str, Any] = {}
        self.handles: dict[str, Any] = {}
        self.lr_range: LrRange | None = None
        self._gradients: dict[str, Any] = {}
        self._parameters: dict[str, Any] = {}
        if self.book:
            self.make_normalizer = partial(  # type: ignore[method-assign]
                make_normalizer, method="per_image", keep_random=False
            )
            self.loader_apply = partial(loader_apply, keep_random=False)  # type: ignore[method-assign]

    def predict(self, x: Any) -> NDArray[Any]:
        """Outputs of the network (N×C, numpy) for N inputs, an array or tensor; in eval mode, in chunks.

        Any other input, such as a mapping or a PackedSequence, goes through at once.
        """
        outputs = self._outputs(x).cpu()
        return (outputs.float() if outputs.dtype == torch.bfloat16 else outputs).numpy()  # numpy has no bfloat16

    def predict_proba(self, x: Any) -> NDArray[Any]:
        """Probabilities N×C: softmax of the logits; of a single logit, and where each column is a label, the sigmoid.

        Where the network ends in a sigmoid or softmax, its outputs are the probabilities; where in a log-softmax, their
        exponentials. `output_kind` says how this is known; a loss that takes something else gives a warning.
        """
        with watched_outputs():
            outputs = self._outputs(x)
        return probabilities(outputs, output_kind(outputs, self.loss_fn), self.loss_fn).cpu().numpy()

    def predict_files(self, paths: Sequence[str | Path], preprocess: Preprocess) -> NDArray[Any]:
        """Logits of image files.

        Raises:
            BadImage: a file cannot be read as an image.
        """
        prepared = [preprocess.prepare(open_image(Path(path)).rgb) for path in paths]
        return self.predict(preprocess.normalise(torch.stack(prepared)))

    def correct(self, x: Any, y: Any, threshold: float = 0.5) -> Tensor:
        """Classes×2 counts of one batch: correct predictions and samples of each class.

        Args:
            y: N labels, or N×1; or N×C probabilities, of which the largest counts.
            threshold: probability above which a single output predicts the second class.

        Raises:
            TrainingError: each sample has several labels, so that it is of no one class.
        """
        with preserve(self.model, weights=False), torch.inference_mode(), watched_outputs():
            outputs = logits_of(run_model(self.model.eval(), to_device(x, self.device)))
        if self.book:
            self.model.train()
        labels = self._labels(y, len(outputs)).to(outputs.device)
        single = outputs.dim() < 2 or outputs.shape[1] == 1
        if not single and labels.dim() > 1 and labels.shape[1] > 1:
            if several_labels(self.loss_fn):
                raise TrainingError(
                    expected="one class for each sample",
                    found=f"{labels.shape[1]} labels, each trained on its own",
                    where="correct",
                    hint="predict_proba(x) > 0.5 gives the predicted labels.",
                )
            labels = labels.argmax(1)
        if single:
            kind = output_kind(outputs, self.loss_fn)
            answers = (probabilities(outputs, kind, self.loss_fn) > threshold).long()
        else:
            answers = outputs.argmax(1)
        correct = answers.reshape(-1) == labels.reshape(-1).long()
        classes = 2 if single else outputs.shape[1]
        rows = [(correct & (labels.reshape(-1) == i), labels.reshape(-1) == i) for i in range(classes)]
        return torch.tensor([[int(hits.sum()), int(all_.sum())] for hits, all_ in rows])

    def count_parameters(self, trainable: bool | None = True, by_block: bool = False) -> Any:
        """Number of parameters: trained ones, `trainable=False` frozen ones, None all; by_block: name → number."""
        counts: dict[str, int] = {}
        for name, parameter in self.model.named_parameters():
            block = name.partition(".")[0]
            counts[block] = counts.get(block, 0) + (
                parameter.numel() if trainable is None or parameter.requires_grad == trainable else 0
            )
        return counts if by_block else sum(counts.values())

    def add_graph(self) -> None:
        """Write the model's graph for TensorBoard, traced with one training batch; nothing without loader or writer."""
        if self.train_loader is None or self.writer is None:
            return
        kept = preserve(self.model, generators=generators_of(self.train_loader))
        with kept, paused(self.handles), warnings.catch_warnings():
            x, _ = unpack(next(iter(self.train_loader)))
            if hasattr(x, "_fields") or isinstance(x, Mapping):
                raise TrainingError(
                    expected="a network whose inputs are tensors: tracing takes them apart",
                    found=f"a {type(x).__name__} in the batches",
                    where="add_graph",
                    hint="Leave add_graph() out; losses and weights go to TensorBoard without it.",
                )
            self.model.eval()
            warnings.simplefilter("ignore")  # tensorboard traces with what torch deprecates, and torch says so
            self.writer.add_graph(self.model, to_device(x, self.device))

    def to_classifier(self, preprocess: Preprocess | Mapping[str, object] | None, classes: Sequence[str]) -> Classifier:
        """The model as a Classifier, which saves to one safe file; its temperature fitted on the validation loader.

        Args:
            preprocess: how its images were prepared: a Preprocess, or its values such as
                `{"size": 64, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}`; None: that of the catalogue.
            classes: names in the order of the labels.

        Raises:
            TrainingError: the network is not in the catalogue and no preprocessing is given, or its classification head
                is not linear.
            BackboneError: the network does not run on images of that size.
        """
        history = f"StepByStep, {self.total_epochs} epochs"
        return to_classifier(unwrapped(self.model), preprocess, classes, validation=self._validation(), history=history)

    def plot_losses(self, ax: Any = None) -> Figure:
        """Training and validation losses over the epochs, log scale."""
        with shown_in_notebook():
            return losses_figure(self.losses, self.val_losses, ax)

    def visualize_filters(self, layer_name: str, **kwargs: Any) -> Figure:
        """The filters of a convolution as images, a row for each filter and a column for each channel.

        Args:
            kwargs: `cmap`, a colour map; `max_filters`, `max_channels`, how many are drawn; `by_channel=False`, filters
                of three channels as one image in colour. Others are ignored with a warning, as the book ignores all.

        Raises:
            TrainingError: there is no such layer, it has no filters, or a value is out of range.
        """
        options = {name: value for name, value in kwargs.items() if name in FILTER_OPTIONS}
        if len(options) < len(kwargs):
            unknown = ", ".join(name for name in kwargs if name not in options)
            warnings.warn(f"visualize_filters ignores {unknown}; it knows {', '.join(FILTER_OPTIONS)}", stacklevel=2)
        with shown_in_notebook():
            return filters_figure(filters_of(self.model, layer_name), layer_name, **{"by_channel": True, **options})

    def attach_hooks(self, layers_to_hook: str | Iterable[str], hook_fn: Callable[..., None] | None = None) -> None:
        """Collect the outputs of layers in `visualization` from now on; earlier hooks are removed.

        Raises:
            TrainingError: there is no such layer.
        """
        self.visualization = attach_outputs(self.model, layers_to_hook, self.handles, hook_fn=hook_fn)

    def remove_hooks(self) -> None:
        """Remove all hooks that this object placed; what they collected stays."""
        remove_hooks(self.handles)

    def visualize_outputs(  # the book's signature
        self, layers: str | Iterable[str], n_images: int = 10, y: Any = None, yhat: Any = None
    ) -> Figure:
        """Outputs of hooked layers for the first images of the latest forward passes.

        Raises:
            TrainingError: a layer was not hooked, or nothing passed through it yet.
        """
        with shown_in_notebook():
            return feature_maps_figure(outputs_of(self.visualization, layers), n_images, y=y, yhat=yhat)

    def capture_gradients(self, layers_to_hook: str | Iterable[str], after_clipping: bool = False) -> None:
        """Collect the gradients of layers in `_gradients`: layer → parameter → the latest arrays.

        Args:
            after_clipping: as the step takes them; else as they arrive.
        """
        optimizer = self.needed_optimizer("capture_gradients") if after_clipping else None
        self._gradients = attach_gradients(
            self.model, layers_to_hook, self.handles, optimizer=optimizer, scale=self.scaler.get_scale
        )

    def capture_parameters(self, layers_to_hook: str | Iterable[str]) -> None:
        """Collect the parameters of layers in `_parameters` at every training batch: layer → parameter → arrays."""
        self._parameters = attach_parameters(self.model, layers_to_hook, self.handles)

    def lr_range_test(  # the book's signature
        self,
        data_loader: Any,
        end_lr: float,
        num_iter: int = 100,
        step_mode: str = "exp",
        alpha: float = 0.05,
        ax: Any = None,
    ) -> tuple[dict[str, list[float]], Figure]:
        """Losses while the learning rate grows from the optimiser's to end_lr; later training is as without it.

        Returns:
            `{"loss": smoothed losses, "lr": rates of the first group}` and the curve.

        Raises:
            TrainingError: the loader is empty, or a value is out of range.
        """
        with paused(self.handles):
            test = RangeTest(end_lr=end_lr, num_iter=num_iter, step_mode=step_mode, alpha=alpha)
            found = lr_range_test(self, data_loader, test)
        self.lr_range = found
        with shown_in_notebook():
            return found.tracking, lr_range_figure(_curve(found), ax)

    @classmethod
    def loader_apply(cls, loader: Any, func: Callable[[Any, Any], Tensor], reduce: str = "sum") -> Tensor:
        """A function's results over all batches, stacked and reduced: `sum`, unweighted `mean`, or as they are.

        Random numbers are restored; where `compat` is `book`, of the class or of the object whose method is applied,
        they are left as the loader leaves them.
        """
        book = cls.compat == BOOK or getattr(getattr(func, "__self__", None), "book", False)
        return loader_apply(loader, func, reduce, keep_random=not book)

    @staticmethod
    def statistics_per_channel(images: Tensor, labels: Any) -> Tensor:
        """3×C: number of images, sum of their means, sum of their standard deviations, for each channel."""
        return statistics_per_channel(images, labels)

    @classmethod
    def make_normalizer(cls, loader: Any, method: str | None = None) -> nn.Module:
        """torchvision's `Normalize` with a loader's own statistics.

        Args:
            method: `pooled`, over all pixels; `per_image`, as the book averages them; None: by the class's `compat`.
        """
        book = cls.compat == BOOK
        return make_normalizer(loader, method or ("per_image" if book else "pooled"), keep_random=not book)

    @staticmethod
    def _visualize_tensors(  # the book's signature
        axs: Any, x: Any, y: Any = None, yhat: Any = None, layer_name: str = "", title: Any = None
    ) -> None:
        draw_image_row(axs, x, y=y, yhat=yhat, layer_name=layer_name, title=title)

    def _outputs(self, x: Any) -> Tensor:
        """The network's outputs in eval mode; arrays and tensors become floats, as in the book, and go in chunks."""
        whole = isinstance(x, (Mapping, PackedSequence)) or hasattr(x, "_fields") or isinstance(x, tuple)
        inputs = [x] if whole else torch.split(self._as_numbers(x), CHUNK)
        with preserve(self.model, weights=False), torch.inference_mode():
            self.model.eval()
            chunks = [logits_of(run_model(self.model, to_device(part, self.device))) for part in inputs]
            outputs = chunks[0] if len(chunks) == 1 else torch.cat(chunks)
        if self.book:
            self.model.train()
        return outputs

    @staticmethod
    def _labels(y: Any, samples: int) -> Tensor:
        try:
            labels = torch.as_tensor(y)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                expected="labels as an array or tensor", found=f"{y!r:.60}: {first_line(error)}", where="correct"
            ) from error
        if not labels.dim() or len(labels) != samples:
            raise TrainingError(
                expected=f"a label for each of {samples} samples", found=str(tuple(labels.shape)), where="correct"
            )
        return labels

    def _as_numbers(self, x: Any) -> Tensor:
        """Inputs as a tensor of the network's precision; whole numbers stay where they are indices of an embedding.

        Raises:
            TrainingError: they are no numbers of one shape.
        """
        try:
            given = torch.as_tensor(x)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TrainingError(
                expected="inputs as an array or tensor, a row for each sample",
                found=f"{x!r:.60}: {first_line(error)}",
                where="predict",
            ) from error
        if not given.dim() or (not given.numel() and given.dim() < 2):
            raise TrainingError(
                expected="inputs as an array or tensor, a row for each sample",
                found=f"{x!r:.60}",
                where="predict",
                hint="One sample is x[None].",
            )
        takes_indices = any(isinstance(one, (nn.Embedding, nn.EmbeddingBag)) for one in self.model.modules())
        if given.is_complex() or (takes_indices and not given.is_floating_point()):
            return given
        weight = next((one for one in self.model.parameters() if one.is_floating_point()), None)
        return given.float() if weight is None or self.amp is not None else given.to(weight.dtype)

    def _validation(self) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
        if self.val_loader is None:
            return None
        with preserve(generators=generators_of(self.val_loader)):
            batches = [unpack(batch) for batch in self.val_loader]
        logits = np.concatenate([self.predict(x) for x, _ in batches]).astype(np.float64)
        return logits, np.concatenate([np.asarray(y).reshape(-1) for _, y in batches]).astype(np.int64)


def _curve(found: LrRange) -> LrCurve:
    return LrCurve(
        rates=[rates[0] for rates in found.lrs],
        raw=found.raw,
        losses=found.losses,
        corrected=found.corrected,
        suggestion=found.suggestion,
        low=found.low,
        high=found.high,
        log=found.step_mode == "exp",
        sentence=found.sentence,
    )
