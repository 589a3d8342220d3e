"""Commands that this room adds to `anymask`; each is reached by its entry point."""
