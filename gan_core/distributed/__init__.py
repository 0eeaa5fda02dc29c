"""Distributed training: launch checks, the process group, global batch normalisation, and stopping together."""
