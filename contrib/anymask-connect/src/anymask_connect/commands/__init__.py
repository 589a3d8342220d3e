"""Commands that run servers for other programs."""
