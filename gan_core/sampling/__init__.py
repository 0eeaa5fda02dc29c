"""Sampling images from a trained game, and writing them to files."""
