"""Label errors, decisions about images, shortcuts: what a person should look at, and what was decided."""
