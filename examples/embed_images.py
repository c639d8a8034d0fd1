"""Features of images, computed once, and the images that are most alike. Argument: a folder of images."""

import sys

import numpy as np

import headstart as hs

features = hs.embed(sys.argv[1], backbone="embedded", layers="pooled")
x = features.matrix / np.linalg.norm(features.matrix, axis=1, keepdims=True)  # N×D
similarity = x @ x.T - 2 * np.eye(len(x))  # cosine; an image is not compared with itself
first, second = np.unravel_index(similarity.argmax(), similarity.shape)
print(f"{x.shape[0]} images, {x.shape[1]} features each")
print(f"{features.names[first]} is most like {features.names[second]}: {similarity.max():.3f}")
