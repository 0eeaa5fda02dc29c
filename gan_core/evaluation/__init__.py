"""How good a generator is: metrics with their protocol, and beside each what real images score."""
