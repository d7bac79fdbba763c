"""Many images out of a network."""
