"""Video object segmentation: a video and prompts in, masks of each object in every frame out."""
