"""One picture: prompts and automatic mask generation in image pixels, with `Model`."""
