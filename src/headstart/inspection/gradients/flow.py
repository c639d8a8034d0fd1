"""Gradient flow: gradients and update steps of each layer over a training, from what was captured during it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from headstart.errors import DataError, shown
from headstart.figures.panels import Line, Plot, panels_figure
from headstart.figures.style import series_color
from headstart.inspection.inspection_result import InspectionResult, Table
from headstart.wording import counted, listed, percent

Captured = Mapping[str, Mapping[str, Sequence[ArrayLike]]]
"""Layer → parameter → one array for each step, as `StepByStep.capture_gradients` and `capture_parameters` keep them."""

VANISHING = 1e-3
"""Share of the last layer's root-mean-square gradient below which that of the first counts as vanishing. Five sigmoid
layers do that: each passes at most a quarter (Glorot and Bengio 2010). Our choice."""

EXPLODING = 100.0  # times its own median, from which a step's gradient counts as exploding; our choice
SLOW, FAST = 1e-5, 1e-1
"""Update-to-weight ratio below which a layer hardly learns, and above which its steps are too long: two powers of ten
around 1e-3, the value that CS231n (Neural Networks 3, Ratio of weights:updates) recommends."""

SPARSE = 0.9  # share of gradients that are exactly zero from which a layer counts as mostly dead; our choice
_LINES = 6  # layers drawn
_SERIES = ("norms", "rms", "zeros", "ratios")


@dataclass(frozen=True)
class LayerFlow:
    """One layer over the steps that were captured.

    Args:
        norms: of the layer's gradient at each step.
        rms: root mean square of the gradient's numbers, at each step.
        zeros: share of the gradient's numbers that are exactly zero, at each step.
        ratios: ‖update‖ / ‖weights‖ of each step but the last; empty where parameters were not captured.
    """

    layer: str
    norms: tuple[float, ...] = field(repr=False)
    rms: tuple[float, ...] = field(repr=False)
    zeros: tuple[float, ...] = field(repr=False)
    ratios: tuple[float, ...] = field(repr=False)

    @property
    def is_finite(self) -> bool:
        """Whether no gradient was infinite or nan."""
        return bool(np.isfinite(self.norms).all())

    @property
    def exploding_steps(self) -> tuple[int, ...]:
        """Steps whose gradient was `EXPLODING` times the median, or not finite."""
        norms = np.array(self.norms)
        usual = float(np.median(norms[np.isfinite(norms)])) if np.isfinite(norms).any() else 0.0
        return tuple(np.flatnonzero(~np.isfinite(norms) | (norms > EXPLODING * max(usual, 1e-30))).tolist())

    def median(self, name: str) -> float:
        """Median over the steps of `norms`, `rms`, `zeros` or `ratios`; nan where there are none."""
        values = np.array(getattr(self, name))
        values = values[np.isfinite(values)]
        return float(np.median(values)) if values.size else float("nan")


@dataclass(frozen=True)
class GradientFlow(InspectionResult):
    """All layers that were captured, in the network's order."""

    layers: tuple[LayerFlow, ...]

    @property
    def title(self) -> str:
        """Of the page's section."""
        return f"Gradients of {counted(len(self.layers), 'layer')} over {counted(len(self.layers[0].norms), 'step')}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        return tuple(filter(None, [self._on_explosions(), self._on_depth(), self._on_ratios(), self._on_zeros()]))

    def _on_explosions(self) -> str:
        steps = [f"{one.layer} at step {one.exploding_steps[0] + 1}" for one in self.layers if one.exploding_steps]
        if not steps:
            return ""
        return (
            f"Gradients exploded ({EXPLODING:g} times their median or not finite): {listed(steps, 4)}. Clip their norm "
            "(set_clip_grad_norm) or lower the learning rate."
        )

    def _on_depth(self) -> str:
        first, last = self.layers[0], self.layers[-1]
        ratio = first.median("rms") / (last.median("rms") or float("nan"))
        if len(self.layers) < 2 or not np.isfinite(ratio):
            return ""
        between = f"{shown(first.layer)} against {shown(last.layer)}: {ratio:.2g} times the root mean square"
        if ratio < VANISHING:
            return (
                f"Gradients vanish towards the input ({between}): the first layers hardly learn. Use shortcuts, batch "
                "norm, or ReLU instead of sigmoid."
            )
        if ratio > 1 / VANISHING:
            return (
                f"Gradients grow towards the input ({between}): add normalisation, or initialise with smaller weights."
            )
        return f"Gradients reach the first layer ({between})."

    def _on_ratios(self) -> str:
        known = [one for one in self.layers if one.ratios]
        slow = [one.layer for one in known if one.median("ratios") < SLOW]
        fast = [one.layer for one in known if one.median("ratios") > FAST]
        if not known:
            return "Parameters were not captured (capture_parameters): update-to-weight ratios are unknown."
        sentences = []
        if fast:
            names = listed(fast, 4)
            sentences.append(f"Steps are too long in {names} (over {FAST:g} of the weights): lower the learning rate.")
        if slow:
            sentences.append(f"{listed(slow, 4)} hardly learn{'s' if len(slow) == 1 else ''} (steps below {SLOW:g}).")
        middle = float(np.median([one.median("ratios") for one in known]))
        return " ".join(sentences) or f"Steps are {middle:.1e} of the weights in the median layer; about 1e-3 is usual."

    def _on_zeros(self) -> str:
        zeros = {one.layer: one.median("zeros") for one in self.layers}
        sparse = [f"{layer} ({percent(share)})" for layer, share in zeros.items() if share > SPARSE]
        if not sparse:
            return ""
        return f"Most gradients are exactly zero in {listed(sparse, 4)}: dead ReLUs follow, or layers are frozen."

    @property
    def tables(self) -> tuple[Table, ...]:
        """Medians over the steps, a row for each layer."""
        rows = tuple(map(_row, self.layers))
        columns = ("layer", "gradient norm", "root mean square", "zeros", "update / weight", "exploding steps")
        return (Table("Medians over the steps", columns, rows),)

    @property
    def description(self) -> str:
        """The figure in words."""
        first, last = self.layers[0], self.layers[-1]
        return (
            f"Curves over {counted(len(first.norms), 'step')}, on logarithmic scales: the norm of the gradient (median "
            f"{first.median('norms'):.2g} in {shown(first.layer)}, {last.median('norms'):.2g} in "
            f"{shown(last.layer)}), and the length of the updates relative to the weights."
        )

    def figure(self) -> Figure:
        """Norms and update-to-weight ratios over the steps, of some layers from first to last."""
        chosen = np.unique(np.linspace(0, len(self.layers) - 1, _LINES).round().astype(int)).tolist()
        panels = [_plot("Gradient norm", [(self.layers[i], self.layers[i].norms) for i in chosen])]
        if any(self.layers[i].ratios for i in chosen):
            panels.append(_plot("Update / weight", [(self.layers[i], self.layers[i].ratios) for i in chosen]))
        return panels_figure(panels)


def gradient_flow(gradients: Captured, parameters: Captured | None = None) -> GradientFlow:
    """Norm, zeros and update-to-weight ratio of each layer over the steps, and which of them are a problem.

    Args:
        gradients: layer → parameter → an array for each step, layers in the network's order.
        parameters: the same of the weights before each step; their differences are the updates. It may cover more or
            fewer steps than the gradients.

    Raises:
        DataError: nothing was captured.
    """
    captured = {layer: series for layer, series in gradients.items() if any(len(values) for values in series.values())}
    if not captured:
        raise DataError(
            expected="gradients of one step or more",
            found="none",
            where="gradient_flow",
            hint="Call capture_gradients and capture_parameters before training.",
        )
    return GradientFlow(
        tuple(_flow(layer, series, (parameters or {}).get(layer, {})) for layer, series in captured.items())
    )


def _row(layer: LayerFlow) -> tuple[str | int | float, ...]:
    return (shown(layer.layer), *[layer.median(name) for name in _SERIES], len(layer.exploding_steps))


def _flow(
    layer: str, gradients: Mapping[str, Sequence[ArrayLike]], parameters: Mapping[str, Sequence[ArrayLike]]
) -> LayerFlow:
    steps = min(len(values) for values in gradients.values())
    norms, rms, zeros = [], [], []
    for step in range(-steps, 0):
        flat = np.concatenate([np.ravel(np.asarray(values[step], dtype=np.float64)) for values in gradients.values()])
        norms.append(float(np.linalg.norm(flat)))
        rms.append(norms[-1] / float(np.sqrt(flat.size)))
        zeros.append(float((flat == 0).mean()))
    return LayerFlow(layer, norms=tuple(norms), rms=tuple(rms), zeros=tuple(zeros), ratios=_ratios(parameters))


def _ratios(parameters: Mapping[str, Sequence[ArrayLike]]) -> tuple[float, ...]:
    steps = min((len(values) for values in parameters.values()), default=0)
    ratios: list[float] = []
    before = None
    for step in range(-steps, 0):
        now = np.concatenate([np.ravel(np.asarray(values[step], dtype=np.float64)) for values in parameters.values()])
        if before is not None:
            ratios.append(float(np.linalg.norm(now - before) / max(float(np.linalg.norm(before)), 1e-30)))
        before = now
    return tuple(ratios)


def _plot(title: str, series: Sequence[tuple[LayerFlow, tuple[float, ...]]]) -> Plot:
    """Values above zero over the steps; a logarithmic scale cannot show others."""
    lines = []
    for number, (one, values) in enumerate(series):
        drawn = [(step, value) for step, value in enumerate(values, start=1) if np.isfinite(value) and value > 0]
        lines.append(Line(one.layer, [s for s, _ in drawn], [v for _, v in drawn], series_color(number)))
    return Plot(title, tuple(lines), "step", log_y=any(line.y for line in lines))
