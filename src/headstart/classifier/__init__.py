"""The hinge: Backbone, Head, class names and calibration in one value. Training makes it, everything else takes it."""
