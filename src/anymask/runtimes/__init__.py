"""Where a model runs: torch or ONNX Runtime behind one protocol, numpy in and numpy out."""
