"""Export: a model in, a folder of ONNX graphs that runs without torch and anymask out."""
