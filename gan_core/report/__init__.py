"""Runs as one page of HTML that opens from disk, without a network."""
