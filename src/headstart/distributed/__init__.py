"""Past one machine: the same classifier from shards of images, by worker processes here or an engine such as Ray."""
