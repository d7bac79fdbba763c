"""Noise schedules, solvers and sampling. Knows nothing of spikes: a network is (x, t) -> eps."""
