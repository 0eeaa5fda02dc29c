"""Feature spaces: what turns images into the numbers that metrics are computed from."""
