"""The frozen part, run once over each image. In: image files and a Backbone. Out: Features N×D, cached by content."""
