"""What the loop calls on the main process while it trains."""


class Observer:
    """Base of the live view, the recorder and the trackers; each overrides what it needs."""

    def advance(self, images_seen: int) -> None:
        """Is called after every step."""

    def log(self, line: dict[str, float]) -> None:
        """Is called at every log point, with the terms and metrics by name."""

    def sample(self, images_seen: int) -> None:
        """Is called when a grid of samples is due."""
