"""The settings of a run: what can be set, where the values come from, and how errors explain them."""
