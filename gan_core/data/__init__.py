"""Data sets by name, and batches of their images on the device, in an order that is the same after a crash."""
