"""What a GAN is, to gan_core: networks, phases, and how to draw. All that a plugin author has to read."""
