"""Weights: filters, change by training, loss along lines and planes."""
