"""Data sets by name: fetched from the web or Kaggle, or drawn."""
