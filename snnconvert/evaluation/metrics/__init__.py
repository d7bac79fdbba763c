"""Metrics of images and classifiers."""
