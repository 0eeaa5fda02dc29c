"""How good a generator is: figures with their protocol, and beside each what real images score."""
