"""The recorder: the metrics and sample grids that every run writes to its folder."""

from PIL import Image

from gan_core.runs.folder import RunFolder
from gan_core.sampling.files import save_image
from gan_core.training.observer import Observer


class Recorder(Observer):
    """Writes metrics.jsonl and the grids of samples."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def log(self, line: dict[str, float]) -> None:
        """Appends the line to metrics.jsonl."""
        self.folder.append_metrics(line)

    def sample(self, images_seen: int, grid: Image.Image) -> None:
        """Writes the grid to samples/."""
        save_image(grid, self.folder.samples / f"{images_seen:09d}.png")
