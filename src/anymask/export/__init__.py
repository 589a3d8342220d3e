"""Graphs for other runtimes: a model becomes a folder that runs without torch or anymask."""
