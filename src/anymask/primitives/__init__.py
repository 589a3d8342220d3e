"""Types and pure functions on numpy arrays: no torch, no files but an embedding's own."""
