"""The values that verbs give to faces, under one roof, so that a face needs no other room."""

from headstart.classifier.predictions import Prediction
from headstart.data.audit.audit import Audit
from headstart.data.finding import Finding
from headstart.evaluation.comparison import Comparison
from headstart.evaluation.evaluation import Evaluation
from headstart.inspection.inspection_result import InspectionResult
from headstart.workbench.evaluate import EvaluationResult
from headstart.workbench.fetch import FetchedSet

__all__ = [
    "Audit",
    "Comparison",
    "Evaluation",
    "EvaluationResult",
    "FetchedSet",
    "Finding",
    "InspectionResult",
    "Prediction",
]
