"""Features: a frozen backbone, run once over each image. In: image files. Out: Features N×D, cached by content."""
