"""The measurements of the paper beside those of `anymask evaluate`: see `python -m research.paper`."""
