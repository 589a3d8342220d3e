"""Photos and prompts in, masks out: the upper storey, which checks and converts, never computes."""
