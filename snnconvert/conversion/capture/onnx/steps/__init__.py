"""One ONNX operation as a module, and what its handler sees."""
