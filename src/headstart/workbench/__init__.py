"""The verbs, one file each: train, predict, evaluate, compare, audit; they join the rooms, the faces call them."""
