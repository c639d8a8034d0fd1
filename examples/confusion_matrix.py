"""What a run found, as arrays: confusion matrix, probabilities, features. Argument: a folder of images per class."""

import sys

import headstart as hs

run = hs.train(sys.argv[1], backbone="embedded", inside=False)  # quick; leave both out for the best
print(run.classifier.classes)
print(run.confusion_matrix())  # rows: true class, columns: predicted; confusion_frame() has the names
test = run.predictions("test")  # to_frame() gives a table
print("mean confidence", test.probabilities.max(axis=1).mean(), "accuracy", (test.predicted == test.labels).mean())
print("features", run.features_of("pooled").shape)
