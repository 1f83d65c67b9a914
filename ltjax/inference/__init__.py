"""Finished runs as models: functions from images to logits, features and probabilities."""
