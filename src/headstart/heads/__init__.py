"""Heads trained on features: ridge and logistic regression, nearest neighbours. In: Features and labels. Out: Head."""
