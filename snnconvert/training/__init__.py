"""Networks trained from a recipe."""
