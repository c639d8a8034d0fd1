"""Looks into a model: what it does with images, and what may be wrong with it; nothing is changed."""
