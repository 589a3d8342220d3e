"""Values and functions that all floors share: boxes, masks, run-lengths, prompts; without torch."""
