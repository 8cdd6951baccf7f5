"""A function as numbered steps, and the textbook's tables of it."""
