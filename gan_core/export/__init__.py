"""The averaged generator of a run as files that other programs load, with a model card."""
