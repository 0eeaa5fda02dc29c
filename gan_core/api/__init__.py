"""gan_core in Python: training and using runs in programs and notebooks."""
