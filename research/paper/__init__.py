"""The measurements of the paper beside `anymask evaluate`'s: see `python -m research.paper`."""
