"""The recorder: the metrics and sample grids that every run writes to its folder."""

from gan_core.runs.folder import RunFolder
from gan_core.sampling.files import MOST_ROWS, save_grid
from gan_core.sampling.sampler import Sampler
from gan_core.training.observer import Observer


class Recorder(Observer):
    """Writes metrics.jsonl and grids of samples from fixed latents, with one row per class where there are classes."""

    def __init__(self, folder: RunFolder, sampler: Sampler) -> None:
        self.folder, self.sampler = folder, sampler

    def log(self, line: dict[str, float]) -> None:
        """Appends the line to metrics.jsonl."""
        self.folder.append_metrics(line)

    def sample(self, images_seen: int) -> None:
        """Writes a grid of samples."""
        classes = self.sampler.game.classes
        count = classes * 8 if 0 < classes <= MOST_ROWS else 64
        save_grid(self.sampler.draw_all(count), classes, self.folder.samples / f"{images_seen:09d}.png")
