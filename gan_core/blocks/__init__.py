"""Building blocks for variants: networks from layer lists, losses, penalties, common options. The core uses none."""
