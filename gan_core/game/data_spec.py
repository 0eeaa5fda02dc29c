"""The properties of a data set that a variant needs to build its networks."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec:
    """Properties of a data set, passed to a variant's `build`.

    Attributes:
        name: The data set's name, as given to `--dataset`.
        image_size: Height and width of the images in pixels; images are square.
        channels: 1 (greyscale) or 3 (RGB).
        classes: Number of classes, or 0 if the data set has no labels.
        count: Number of images in the training split.
    """

    name: str
    image_size: int
    channels: int
    classes: int
    count: int
