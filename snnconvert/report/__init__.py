"""What a conversion lost, where, and what the spiking network costs."""
