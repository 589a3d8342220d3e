"""What computes a model: torch or ONNX Runtime; the catalogue, store and loading of weights."""
