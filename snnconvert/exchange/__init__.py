"""Networks for and from others: ONNX, spikingjelly, NIR, diffusers."""
