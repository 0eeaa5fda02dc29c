"""TensorBoard, in the run's folder `tensorboard`."""

from collections.abc import Mapping
from typing import Any

from PIL import Image

from gan_core.observers.listener import Alarm
from gan_core.observers.tracker import EVALUATION_COLUMNS, Tracked, Tracker, class_shares, evaluation_rows


class TensorBoard(Tracker):
    """Writes settings, terms, grids and evaluations; the step is the number of images seen."""

    def __init__(self, run: Tracked) -> None:
        """Opens a file of events.

        A resumed run repeats the steps after its checkpoint: TensorBoard hides those that it has written before.

        Raises:
            OSError: The folder cannot be written to.
        """
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        self.run = run
        first = 0 if run.resumed_at is None else run.resumed_at + 1
        self._writer = SummaryWriter(str(run.folder.root / "tensorboard"), purge_step=first)
        # TensorBoard accepts neither lists nor None.
        plain = {key: _plain(value) for key, value in run.config.items()}
        for summary in hparams(plain, {}):
            self._add(summary)

    def log(self, line: dict[str, float]) -> None:
        """Writes a log line to disk: a process that is killed loses none that a checkpoint follows."""
        for name, value in line.items():
            self._writer.add_scalar(name, value, global_step=int(line["images_seen"]))
        self._writer.flush()

    def sample(self, images_seen: int, grid: Image.Image) -> None:
        """Writes the file of the grid as it is."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        content = self.run.picture(images_seen).read_bytes()
        channels = len(grid.getbands())
        picture = Summary.Image(height=grid.height, width=grid.width, colorspace=channels, encoded_image_string=content)
        self._add(Summary(value=[Summary.Value(tag="samples", image=picture)]), images_seen)

    def evaluated(self, images_seen: int, evaluation: Mapping[str, Any]) -> None:
        """Writes the metrics beside those of real images, and the share of each class, as tables."""
        self._writer.add_text("evaluation", _table(list(EVALUATION_COLUMNS), evaluation_rows(evaluation)), images_seen)
        if shares := class_shares(evaluation, self.run.class_names):
            self._writer.add_text("classes", _table(["class", "samples", "real images"], shares), images_seen)

    def warned(self, alarm: Alarm) -> None:
        """Writes the alarm as a text."""
        self._writer.add_text("alarms", alarm.text, alarm.at)

    def finish(self) -> None:
        """Closes the file."""
        self._writer.close()

    def _add(self, summary: object, step: int | None = None) -> None:
        """Writes a summary that torch has no method for."""
        writer: Any = self._writer.file_writer
        writer.add_summary(summary, step)


def _plain(value: object) -> int | float | str:
    return value if isinstance(value, int | float | str) else str(value)


def _table(columns: list[str], rows: list[list[Any]]) -> str:
    """Returns a table in Markdown, which TensorBoard shows."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join("" if cell is None else _cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
