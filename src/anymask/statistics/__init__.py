"""Statistics of a data set: annotated images in, counts, histograms and their report out."""
