"""The plugin loader: finds plugins without importing them, loads one by name, and validates it."""
