"""Fine-tuning, training and distillation, and the export of what they made."""
