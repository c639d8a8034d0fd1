"""Duplicate images: candidates by perceptual hash, verified pixel by pixel."""
