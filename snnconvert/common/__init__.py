"""What every part of the package may use: registries, randomness, hardware, processes."""
