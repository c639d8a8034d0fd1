"""Plain values become matplotlib Figures; no window is ever opened."""
