"""The formulas by which solvers step from one noise level to the next."""
