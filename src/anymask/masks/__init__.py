"""Masks as values: run-lengths, polygons, boxes, drawing, measurements, prompts, geometry."""
