"""What a person sees of a run: the plan, the live view, and the trackers."""
