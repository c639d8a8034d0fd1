"""A classifier behind HTTP: bounded, safe by default, the same answers as `predict`."""
