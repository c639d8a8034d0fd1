"""The classifier: Backbone, Head, class names and calibration in one value, which predicts, saves and loads."""
