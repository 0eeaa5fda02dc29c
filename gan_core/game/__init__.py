"""The interface for plugin authors: a variant, its game (networks, phases, latents), batches and loss protocols."""
