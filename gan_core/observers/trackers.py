"""Weights & Biases and TensorBoard, through accelerate's trackers. A tracker that fails does not stop training."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from accelerate import Accelerator
from PIL import Image

from gan_core.console import warn
from gan_core.runs.folder import RunFolder
from gan_core.settings.flatten import dotted
from gan_core.training.observer import Observer


class Tracker(Observer):
    """Sends settings, terms and sample grids to the tracker; after its first error, training continues without it."""

    def __init__(self, accelerator: Accelerator, name: str, folder: RunFolder) -> None:
        self.accelerator, self.name, self.folder = accelerator, name, folder
        self.failed = False

    def start(self, config: Mapping[str, Any]) -> None:
        """Starts the tracker and sends the settings; a resumed run continues the same Weights & Biases run."""
        metadata = self.folder.read_metadata()
        run_id = metadata.get("wandb_id") or secrets.token_hex(4)
        if self.name == "wandb":
            self.folder.write_metadata(wandb_id=run_id)
        wandb = {"id": run_id, "resume": "allow", "dir": str(self.folder.root), "name": self.folder.root.name}
        # TensorBoard accepts neither lists nor None.
        flat = dotted(config)
        plain = {key: value if isinstance(value, int | float | str) else str(value) for key, value in flat.items()}
        if self.name == "tensorboard":
            self._try(lambda: self._start_tensorboard(plain))
        else:
            self._try(lambda: self.accelerator.init_trackers("gan_core", config=plain, init_kwargs={"wandb": wandb}))

    def _start_tensorboard(self, config: dict[str, Any]) -> None:
        """Starts TensorBoard in the run's folder `tensorboard`, and writes the settings beside the terms."""
        self.accelerator.init_trackers("tensorboard")
        # Given the settings, accelerate would write them to two folders below this one, with new names at each start.
        from torch.utils.tensorboard.summary import hparams

        writer = self.accelerator.get_tracker(self.name, unwrap=True)
        for summary in hparams(config, {}):
            writer.file_writer.add_summary(summary)

    def log(self, line: dict[str, float]) -> None:
        """Sends a log line; the step is the number of images seen."""
        self._try(lambda: self.accelerator.log(line, step=int(line["images_seen"])))

    def sample(self, images_seen: int, grid: Image.Image) -> None:
        """Sends the grid; the step is the number of images seen."""

        def send() -> None:
            pixels = np.asarray(grid.convert("RGB"))
            tracker = self.accelerator.get_tracker(self.name)
            if self.name == "wandb":
                tracker.log_images({"samples": [pixels]}, step=images_seen)
            else:
                tracker.log_images({"samples": pixels[None]}, step=images_seen, dataformats="NHWC")

        self._try(send)

    def finish(self) -> None:
        """Flushes the tracker. Replaces accelerate's own call, which raises if the tracker failed to start."""
        self._try(lambda: [tracker.finish() for tracker in self.accelerator.trackers])
        self.accelerator.trackers = []

    def _try(self, call: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            call()
        except Exception as error:  # No error of a tracker may stop training.
            self.failed = True
            warn(f"{self.name} failed and is disabled for the rest of the run: {type(error).__name__}: {error}")
