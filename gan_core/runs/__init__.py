"""A run: what was asked for, the folder that holds it, and its checkpoints."""
