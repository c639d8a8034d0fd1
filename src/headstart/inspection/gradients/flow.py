"""Gradient flow: how gradients and steps of each layer went while a network trained, from what was captured then."""

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
from headstart.inspection.wording import listed, many

Captured = Mapping[str, Mapping[str, Sequence[ArrayLike]]]
"""Layer → parameter → one array for each step, as `StepByStep.capture_gradients` and `capture_parameters` keep them."""

VANISHING = 1e-3
"""Of the typical (root mean square) gradient of the last layer, below which that of the first is said to vanish. Five
sigmoid layers do that: each passes at most a quarter (Glorot and Bengio 2010). Our choice."""

EXPLODING = 100.0  # times its own median, from which a step's gradient is said to explode; our choice
SLOW, FAST = 1e-5, 1e-1
"""Update-to-weight ratio below which a layer hardly learns, and above which its steps are too long: two powers of ten
around 1e-3, which CS231n (Neural Networks 3, Ratio of weights:updates) calls about right."""

SPARSE = 0.9  # share of gradients that are exactly zero from which a layer is said to be mostly dead; our choice
_LINES = 6  # layers drawn


@dataclass(frozen=True)
class LayerFlow:
    """One layer over the steps that were captured.

    Args:
        norms: of the layer's gradient at each step. typical: the same over the root of the number of weights.
        zeros: share of the gradient's numbers that are exactly zero, at each step.
        ratios: ‖update‖ / ‖weights‖ of each step but the last; empty where parameters were not captured.
    """

    layer: str
    norms: tuple[float, ...] = field(repr=False)
    typical: tuple[float, ...] = field(repr=False)
    zeros: tuple[float, ...] = field(repr=False)
    ratios: tuple[float, ...] = field(repr=False)

    @property
    def is_finite(self) -> bool:
        """Whether no gradient was infinite or nan."""
        return bool(np.isfinite(self.norms).all())

    @property
    def bursts(self) -> tuple[int, ...]:
        """Steps whose gradient was `EXPLODING` times the median, or not finite."""
        norms = np.array(self.norms)
        usual = float(np.median(norms[np.isfinite(norms)])) if np.isfinite(norms).any() else 0.0
        return tuple(np.flatnonzero(~np.isfinite(norms) | (norms > EXPLODING * max(usual, 1e-30))).tolist())

    def middle(self, of: str) -> float:
        """Median over the steps of `norms`, `typical`, `zeros` or `ratios`; nan where there are none."""
        values = np.array(getattr(self, of))
        values = values[np.isfinite(values)]
        return float(np.median(values)) if values.size else float("nan")


@dataclass(frozen=True)
class GradientFlow(InspectionResult):
    """All layers that were captured, in the network's order."""

    layers: tuple[LayerFlow, ...]

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Gradients of {many(len(self.layers), 'layer')} over {many(len(self.layers[0].norms), 'step')}"

    @property
    def interpretation(self) -> tuple[str, ...]:
        """What this says, and what to do."""
        return tuple(filter(None, [self._on_bursts(), self._on_reach(), self._on_ratios(), self._on_zeros()]))

    def _on_bursts(self) -> str:
        burst = [one for one in self.layers if one.bursts]
        if not burst:
            return ""
        names = listed([f"{one.layer} at step {one.bursts[0] + 1}" for one in burst], 4)
        return (
            f"Gradients exploded ({EXPLODING:g} times their median or not finite): {names}. Clip their norm "
            "(set_clip_grad_norm) or lower the learning rate."
        )

    def _on_reach(self) -> str:
        first, last = self.layers[0], self.layers[-1]
        ratio = first.middle("typical") / (last.middle("typical") or float("nan"))
        if len(self.layers) < 2 or not np.isfinite(ratio):
            return ""
        between = f"{shown(first.layer)} against {shown(last.layer)}: {ratio:.2g} times as large, number by number"
        if ratio < VANISHING:
            return (
                f"Gradients vanish towards the input ({between}): the first layers hardly learn. Shortcuts, batch norm "
                "or ReLU instead of sigmoid let them through."
            )
        if ratio > 1 / VANISHING:
            return f"Gradients grow towards the input ({between}): normalise, or initialise with smaller weights."
        return f"Gradients reach the first layer ({between})."

    def _on_ratios(self) -> str:
        known = [one for one in self.layers if one.ratios]
        slow = [one.layer for one in known if one.middle("ratios") < SLOW]
        fast = [one.layer for one in known if one.middle("ratios") > FAST]
        if not known:
            return "Parameters were not captured, so that steps cannot be compared with weights (capture_parameters)."
        words = []
        if fast:
            words.append(f"Steps are too long in {listed(fast, 4)} (over {FAST:g} of the weights): lower the rate.")
        if slow:
            words.append(f"{listed(slow, 4)} hardly learn{'s' if len(slow) == 1 else ''} (steps below {SLOW:g}).")
        middle = float(np.median([one.middle("ratios") for one in known]))
        return " ".join(words) or f"Steps are {middle:.1e} of the weights in the middle layer; about 1e-3 is usual."

    def _on_zeros(self) -> str:
        sparse = [f"{one.layer} ({one.middle('zeros'):.0%})" for one in self.layers if one.middle("zeros") > SPARSE]
        if not sparse:
            return ""
        return f"Most gradients are exactly zero in {listed(sparse, 4)}: dead ReLUs behind it, or a frozen part."

    @property
    def tables(self) -> tuple[Table, ...]:
        """Medians over the steps, a row for each layer."""
        rows = tuple(
            (
                shown(o.layer),
                o.middle("norms"),
                o.middle("typical"),
                o.middle("zeros"),
                o.middle("ratios"),
                len(o.bursts),
            )
            for o in self.layers
        )
        heads = ("layer", "gradient norm", "root mean square", "zeros", "update / weight", "bursts")
        return (Table("Medians over the steps", heads, rows),)

    @property
    def description(self) -> str:
        """The figure in words."""
        first, last = self.layers[0], self.layers[-1]
        return (
            f"Curves over {many(len(first.norms), 'step')}, on logarithmic scales: the norm of the gradient (median "
            f"{first.middle('norms'):.2g} in {shown(first.layer)}, {last.middle('norms'):.2g} in "
            f"{shown(last.layer)}), and "
            "the length of steps against that of the weights."
        )

    def figure(self) -> Figure:
        """Norms and update-to-weight ratios over the steps, of some layers from first to last."""
        chosen = np.unique(np.linspace(0, len(self.layers) - 1, _LINES).round().astype(int)).tolist()
        panels = [_plot("Gradient norm", [(self.layers[i], self.layers[i].norms) for i in chosen])]
        if any(self.layers[i].ratios for i in chosen):
            panels.append(_plot("Update / weight", [(self.layers[i], self.layers[i].ratios) for i in chosen]))
        return panels_figure(panels)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; numbers that are not finite become None."""
        keys = ("norms", "typical", "zeros", "ratios")
        layers = [
            {"layer": one.layer, **{key: [v if np.isfinite(v) else None for v in getattr(one, key)] for key in keys}}
            for one in self.layers
        ]
        return {"title": self.title, "layers": layers, "reading": list(self.interpretation)}


def gradient_flow(gradients: Captured, parameters: Captured | None = None) -> GradientFlow:
    """Norm, zeros and update-to-weight ratio of each layer over the steps, and what is wrong with them.

    Args:
        gradients: layer → parameter → an array for each step, layers in the network's order.
        parameters: the same of the weights before each step; their differences are the updates. A series that goes
            back further or less far than that of the gradients is fine.

    Raises:
        DataError: nothing was captured.
    """
    captured = {layer: series for layer, series in gradients.items() if any(len(values) for values in series.values())}
    if not captured:
        raise DataError(
            expected="gradients of one step or more",
            found="none",
            where="gradient_flow",
            hint="capture_gradients and capture_parameters, before training.",
        )
    return GradientFlow(
        tuple(_flow(layer, series, (parameters or {}).get(layer, {})) for layer, series in captured.items())
    )


def _flow(
    layer: str, gradients: Mapping[str, Sequence[ArrayLike]], parameters: Mapping[str, Sequence[ArrayLike]]
) -> LayerFlow:
    steps = min(len(values) for values in gradients.values())
    norms, typical, zeros = [], [], []
    for step in range(-steps, 0):
        flat = np.concatenate([np.ravel(np.asarray(values[step], dtype=np.float64)) for values in gradients.values()])
        norms.append(float(np.linalg.norm(flat)))
        typical.append(norms[-1] / float(np.sqrt(flat.size)))
        zeros.append(float((flat == 0).mean()))
    return LayerFlow(layer, tuple(norms), tuple(typical), tuple(zeros), _ratios(parameters))


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
    """Values above zero over the steps; a logarithmic scale has no place for others."""
    lines = []
    for number, (one, values) in enumerate(series):
        drawn = [(step, value) for step, value in enumerate(values, start=1) if np.isfinite(value) and value > 0]
        lines.append(Line(one.layer, [s for s, _ in drawn], [v for _, v in drawn], series_color(number)))
    return Plot(title, tuple(lines), "step", log_y=any(line.y for line in lines))
