"""Train from a pandas DataFrame with paths, labels and your own split. Argument: a folder of images per class."""

import sys
from pathlib import Path

import pandas as pd

import headstart as hs

files = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
frame = pd.DataFrame({"path": files})
frame["label"] = [path.parent.name for path in frame["path"]]
frame["split"] = ["test" if i % 4 == 0 else "train" for i in range(len(frame))]  # a column `group` works too
run = hs.train(frame, backbone="embedded", inside=False)
print(run.evaluation.accuracy)
