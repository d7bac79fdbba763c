"""Figures as a person reads them: in a terminal, as plots."""
