"""Gradients: how far they reach, and how smooth they are."""
