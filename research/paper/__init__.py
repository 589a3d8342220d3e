"""The measurements of the paper beside those of `anymask eval`: see `python -m research.paper`."""
