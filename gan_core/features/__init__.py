"""Feature spaces: what turns images into the numbers that figures are computed from."""
