"""Batch norm: stored statistics against the statistics of your images."""
