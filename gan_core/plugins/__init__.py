"""The door through which every variant comes: find without importing, load one by name, check it."""
