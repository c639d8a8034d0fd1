"""A pretrained network as a feature extractor with its own preprocessing. In: a name. Out: Backbone."""
