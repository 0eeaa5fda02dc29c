"""Runs: their folder, their checkpoints, resuming, and listing."""
