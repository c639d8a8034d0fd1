"""Measuring instruments; they know nothing of training. In: probabilities and labels. Out: Evaluation."""
