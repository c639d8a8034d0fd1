"""Advice from cached features: which backbone, how many more images, which of them to label, which augmentation."""
