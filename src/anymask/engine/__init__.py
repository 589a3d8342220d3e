"""The data engine: photos in, masks that people reviewed out; stages, review, retraining."""
