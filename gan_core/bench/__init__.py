"""The speed of training, measured: rates, parts of a step, start-up, and comparison with the plainest loop."""
