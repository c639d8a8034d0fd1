"""Audited data and a backbone become a Classifier. In: Features and labels. Out: heads, baselines."""
