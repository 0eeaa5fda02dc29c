"""Observers of a training run: the live view, the recorder of the run folder, and the trackers."""
