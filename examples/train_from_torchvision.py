"""Train from a torchvision dataset, or any with len() and [i] → (image, label). Argument: a folder per class."""

import sys

from torch.utils.data import Subset
from torchvision.datasets import ImageFolder

import headstart as hs

dataset = ImageFolder(sys.argv[1])
half = Subset(dataset, range(0, len(dataset), 2))
run = hs.train(half, backbone="embedded", inside=False)
print(run.classifier.classes, "in the order of", dataset.classes)
print(run.evaluation.accuracy)
