"""Use your own network as the backbone of a classifier. Argument: a folder of images per class."""

import sys

from torch import nn

import headstart as hs

first = [nn.Conv2d(3, 32, 5, stride=2), nn.BatchNorm2d(32), nn.ReLU()]
second = [nn.Conv2d(32, 64, 3, stride=2), nn.BatchNorm2d(64), nn.ReLU()]
network = nn.Sequential(*first, *second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))  # and its weights
backbone = hs.Backbone.from_module(network, preprocess={"size": 64, "mean": (0.5,) * 3, "std": (0.5,) * 3})
run = hs.train(sys.argv[1], backbone=backbone, inside=False)
print(backbone.stages, run.evaluation.accuracy)
print(hs.Classifier.load(run.folder, module=network).classes)
