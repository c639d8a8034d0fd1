"""Train your own network with StepByStep and keep it as a classifier. Argument: a folder of images per class."""

import sys

import torch
from torch import nn
from torchvision import datasets, transforms

import headstart as hs

prepare = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor()])
dataset = datasets.ImageFolder(sys.argv[1], prepare)
body = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
network = nn.Sequential(body, nn.Linear(256, len(dataset.classes)))
loop = hs.StepByStep(network, nn.CrossEntropyLoss(), torch.optim.Adam(network.parameters(), lr=0.01))
loop.set_loaders(torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True))
loop.train(5)
classifier = loop.to_classifier({"size": 32, "mean": (0.0,) * 3, "std": (1.0,) * 3}, dataset.classes)
print(classifier.predict(dataset.samples[0][0]))
