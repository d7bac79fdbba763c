"""Networks to try things on, for tests and benchmarks alike."""
