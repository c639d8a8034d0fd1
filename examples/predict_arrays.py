"""Classify arrays, as a camera, OpenCV (bgr=True) or numpy gives them. Argument: a folder of images per class."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import headstart as hs

run = hs.train(sys.argv[1], backbone="embedded", inside=False)  # quick; leave both out for the best
files = sorted(path for path in Path(sys.argv[1]).rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
arrays = [np.array(Image.open(file).convert("RGB")) for file in files[:5]]  # H×W×3 uint8
for file, prediction in zip(files[:5], run.classifier.predict(arrays), strict=True):
    print(file.parent.name, prediction)
