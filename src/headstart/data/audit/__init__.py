"""The audit of a dataset: one check per question, findings with the names of the images."""
