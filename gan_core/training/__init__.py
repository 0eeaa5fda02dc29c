"""The training loop, the update of a phase, its batches, and the averages and schedules of weights and rates."""
