"""Command-line arguments that several commands share, and what they name."""
