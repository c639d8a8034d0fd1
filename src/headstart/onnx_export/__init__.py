"""A classifier as one ONNX file that runs without headstart, and the report that shows it gives the same answers."""
