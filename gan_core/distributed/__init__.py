"""Processes: how many there truly are, what they compute together, and how they agree to stop."""
