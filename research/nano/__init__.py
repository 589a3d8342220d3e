"""How the networks beside `nano` were built: edges of masks, memory of videos, names."""
