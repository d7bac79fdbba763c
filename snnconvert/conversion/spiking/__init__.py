"""The spiking network: its neurons' configuration, the network, a second plain simulation."""
