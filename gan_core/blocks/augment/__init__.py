"""Differentiable augmentation, DiffAugment and ADA, for any game with a discriminator; see README.md in this folder."""
