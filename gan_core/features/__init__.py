"""Feature spaces, which map images to the features that metrics are computed from."""
