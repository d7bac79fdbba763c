"""The spiking U-Net that is trained natively."""
