"""The interface that the training loop calls on the main process."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


class Observer:
    """Base class of the live view, the recorder and the trackers; each overrides the methods it needs."""

    def advance(self, images_seen: int) -> None:
        """Called after every step."""

    def log(self, line: dict[str, float]) -> None:
        """Called at every log point, with the terms and metrics by name."""

    def sample(self, images_seen: int, grid: "Image.Image") -> None:
        """Called with a grid of samples when one is due."""
