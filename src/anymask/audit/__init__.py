"""Audit of a data set: annotated images in, a grade for each mask and label errors out."""
