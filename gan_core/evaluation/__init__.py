"""Evaluation of generators: metrics with their protocol, each beside the real images' own score (the floor)."""
