"""Inspection: analyses of a model on images; the model is never changed."""
