"""How the embedded backbone is made: drawn pictures → a teacher's features of them → weights and their card."""
