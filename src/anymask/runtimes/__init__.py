"""Where a model runs: torch or ONNX Runtime behind one protocol, in numpy, without torch in the core."""
