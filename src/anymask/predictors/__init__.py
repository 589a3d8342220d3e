"""Predictors: photos and prompts in image pixels in, masks out; they check, ask and convert."""
