"""What is fitted to calibration inputs: thresholds, biases, starts, leaks."""
