"""Converted networks as NIR graphs."""
