"""Image augmentation: what is drawn for a position, and what is done to the pixels."""
