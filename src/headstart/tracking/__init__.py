"""Runs in other trackers: TensorBoard, MLflow, Weights & Biases; the run folder stays the record."""
