"""Commands that the plug-in adds to `anymask`."""
