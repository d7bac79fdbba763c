"""Spiking neurons: the count-held integrate-and-fire transitions and their plain reference."""
