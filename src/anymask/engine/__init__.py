"""The data engine: from photos without masks to a data set that somebody has looked at."""
