"""The same blocks, computed faster on a CPU; property tests hold each to its slow twin."""
