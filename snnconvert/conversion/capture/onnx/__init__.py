"""ONNX files as captured networks."""
