"""What leaves the house: the report as one self-contained HTML file."""
