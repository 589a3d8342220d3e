"""Training commands of `anymask`, loaded by their entry points."""
