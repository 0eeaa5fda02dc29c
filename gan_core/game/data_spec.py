"""What is known about a data set before any network is built."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec:
    """The shape of a data set, as a variant's `build` sees it.

    Attributes:
        name: What the user typed after `--dataset`.
        image_size: Height and width in pixels.
        channels: 1 (grey) or 3 (RGB).
        classes: How many labels there are, or 0 where there are none.
        count: How many images the split for training has.
    """

    name: str
    image_size: int
    channels: int
    classes: int
    count: int
