"""Data sets by name, and how their images reach the device in an order that no crash can change."""
