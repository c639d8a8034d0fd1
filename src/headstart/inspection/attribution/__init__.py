"""Attribution: the evidence for a prediction in the image, and whether the map of it can be trusted."""
