"""Image augmentation: the random choices drawn for a position, and what they do to the pixels."""
