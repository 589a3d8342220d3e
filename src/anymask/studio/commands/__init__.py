"""Commands of this package, registered as entry points of `anymask`."""
