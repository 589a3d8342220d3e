"""Commands of `anymask` that serve other programs."""
