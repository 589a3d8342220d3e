"""Runtimes: what computes a model, torch or ONNX Runtime; normalised pictures in, logits out."""
