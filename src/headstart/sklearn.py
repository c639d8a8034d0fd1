"""Estimators for scikit-learn: images → features, and the closed-form head on any features, in pipelines and searches.

`FeatureExtractor` needs no fitting: its network is pretrained. `LinearProbe` is the head of `headstart.train`: ridge
regression on class indicators whose strength is chosen by exact leave-one-out, with a temperature from the same
left-out scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from headstart.backbones.backbone import Backbone
from headstart.errors import RunError
from headstart.evaluation.calibration import fit_temperature
from headstart.features.matrix import Features
from headstart.heads.regularization_path import LabelledFeatures
from headstart.heads.ridge import solve_ridge
from headstart.workbench.embed import embed
from headstart.workbench.session import Session
from headstart.workbench.starting_point import choose_backbone

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as missing:
    raise RunError(
        expected="the package scikit-learn", found="none", hint="pip install scikit-learn", where="headstart.sklearn"
    ) from missing

_STAGE = "features"


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Images → features N×D float32 of a pretrained network, each computed once and kept in headstart's cache.

    Args:
        backbone: a name, as for `headstart.train`, or a Backbone. layers: stages, such as auto or pooled.
        weights: a file; None: the backbone's own source. offline: never use the network.
    """

    def __init__(
        self, backbone: Any = "auto", *, layers: str = "auto", weights: str | None = None, offline: bool = False
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.weights = weights
        self.offline = offline

    def fit(self, images: Any = None, labels: Any = None) -> FeatureExtractor:
        """Nothing is learned."""
        return self

    def transform(self, images: Any) -> NDArray[np.float32]:
        """Features of paths, arrays or whatever else `headstart.embed` takes."""
        found = embed(
            list(images) if isinstance(images, np.ndarray) and images.ndim != 3 else images,
            backbone=self.backbone,
            layers=self.layers,
            weights=self.weights,
            offline=self.offline,
        )
        return np.asarray(found.matrix)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """A name for each column, as `stage4_17`; `set_output(transform="pandas")` needs them.

        Args:
            input_features: not used, there for scikit-learn.
        """
        backbone = self.backbone if isinstance(self.backbone, Backbone) else None
        name = self.backbone if backbone is None else backbone.spec.name
        options = {"backbone": name, "layers": self.layers, "weights": self.weights, "offline": self.offline}
        chosen = choose_backbone(Session(None, options, backbone=backbone)).backbone
        wanted = set(chosen.spec.choose_stages(self.layers))
        stages = [(stage, width) for stage, width in zip(chosen.stages, chosen.widths, strict=True) if stage in wanted]
        return np.array([f"{stage}_{column}" for stage, width in stages for column in range(width)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


class LinearProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Ridge regression on class indicators, its strength chosen by exact leave-one-out, with calibrated probabilities.

    Args:
        unit: scale each row to unit length first, as `headstart.train` does with each stage.

    Attributes:
        coef_: C×D. intercept_: C. lambda_: the strength. temperature_: of the probabilities. loo_accuracy_: of
            rows that were left out in turn.
    """

    def __init__(self, *, unit: bool = False) -> None:
        self.unit = unit

    def fit(self, X: Any, y: Any, groups: Any = None) -> LinearProbe:
        """Solve for all strengths at once and keep the best.

        Args:
            X: N×D. y: N labels. groups: N; rows of one group are left out together.
        """
        x, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("LinearProbe needs at least two classes; the data has only one class")
        # float32 as extracted features are; centred and scaled so that columns of any size keep their digits
        self._mean, self._scale = x.mean(axis=0), max(float(np.abs(x - x.mean(axis=0)).max()), 1e-30)
        rows = np.arange(len(x))
        width = x.shape[1]
        made = Features(
            np.asarray(self._prepared(x), dtype=np.float32), {_STAGE: (0, width)}, tuple(map(str, rows)), ()
        )
        data = LabelledFeatures.of(
            made.view(rows, (_STAGE,), unit=False),
            numbers.astype(np.int64),
            len(self.classes_),
            groups=None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64),
        )
        path = solve_ridge(data)
        self.coef_, self.intercept_ = path.weight.T, path.bias
        self.lambda_, self.loo_accuracy_ = path.lambda_, path.accuracy
        self.temperature_ = fit_temperature(path.held_scores, path.held_labels).value
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Scores N×C; of two classes the second one's lead, N."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of each row, N."""
        best = self._scores(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Calibrated probabilities N×C."""
        return np.asarray(softmax(self._scores(X) / self.temperature_, axis=1), dtype=np.float64)

    def _scores(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=np.float64)
        return np.asarray(self._prepared(x) @ self.coef_.T + self.intercept_, dtype=np.float64)

    def _prepared(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.unit:
            length = np.linalg.norm(x, axis=1, keepdims=True)
            return np.asarray(x / np.where(length > 0, length, 1.0))
        return np.asarray((x - self._mean) / self._scale)
