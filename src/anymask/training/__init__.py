"""Training and fine-tuning: recipes, pictures, simulated annotators, losses, the loop."""
