"""Evaluation: segmenters and sets of images with masks in, scores with intervals out."""
