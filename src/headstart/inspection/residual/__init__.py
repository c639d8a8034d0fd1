"""Residual blocks: what each branch adds to its shortcut."""
