"""Building blocks that variants share: networks said as lists of layers, and common options. The core uses none."""
