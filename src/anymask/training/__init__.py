"""Training and fine-tuning: recipes and annotated photos in, weights out."""
