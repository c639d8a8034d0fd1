"""headstart's features and head in a scikit-learn pipeline. Argument: a folder of images per class."""

import sys
from pathlib import Path

from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from headstart.sklearn import FeatureExtractor, LinearProbe

files = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
labels = [file.parent.name for file in files]
pipeline = make_pipeline(FeatureExtractor("embedded"), LinearProbe())
scores = cross_val_score(pipeline, files, labels, cv=4)
print(f"accuracy {scores.mean():.3f} ± {scores.std():.3f} over {len(scores)} folds")
