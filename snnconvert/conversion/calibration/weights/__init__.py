"""Weights of a quantised network trained to give what the float network gives."""
