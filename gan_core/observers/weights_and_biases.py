"""Weights & Biases: https://docs.wandb.ai."""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from gan_core.observers.listener import Alarm
from gan_core.observers.tracker import (
    EVALUATION_COLUMNS,
    SavedGenerator,
    Tracked,
    Tracker,
    class_shares,
    evaluation_rows,
)
from gan_core.runs.goal import best_values

_PROJECT = "gan_core"


class WeightsAndBiases(Tracker):
    """Sends settings, terms, grids, evaluations and generators to Weights & Biases.

    The step is the number of images seen. A resumed run continues the same run there, without the steps that it has
    already sent: it repeats those after its checkpoint.
    """

    def __init__(self, run: Tracked) -> None:
        """Starts the run there.

        Raises:
            Exception: Whatever wandb raises, such as for want of a login.
        """
        import wandb

        self.run, settings = run, run.settings
        self._id = _run_id(run)
        self._session = wandb.init(
            # What is None is taken from the variables of Weights & Biases, such as WANDB_ENTITY.
            project=settings.track_project or (None if os.environ.get("WANDB_PROJECT") else _PROJECT),
            name=settings.track_name or (None if os.environ.get("WANDB_NAME") else run.folder.root.name),
            entity=settings.track_entity,
            group=settings.track_group,
            job_type=settings.track_job_type,
            tags=settings.track_tags,
            notes=settings.track_notes,
            id=self._id,
            resume="allow",
            dir=str(run.folder.root),
            # Numbers stay numbers, and None is null, so that runs can be filtered by them.
            config={**run.config, **{f"run.{key}": value for key, value in run.metadata.items()}},
        )
        self._session.define_metric("images_seen")
        self._session.define_metric("*", step_metric="images_seen")
        self._sent = _LastStep(run.folder.root / "wandb" / "last-step", anew=run.resumed_at is None)
        self._again = self._sent.read()
        self._tables: dict[str, Any] = {}
        self._best = best_values([] if run.resumed_at is None else run.folder.read_metrics(), run.goals)
        run.folder.write_metadata(wandb_id=self._id)

    def log(self, line: dict[str, float]) -> None:
        """Sends a log line, and the best values in it."""
        seen = int(line["images_seen"])
        self._log(seen, line)
        if self._tables:  # After the line: wandb names their files by the step that it was told last.
            self._log(seen, self._tables)
            self._tables = {}
        best = best_values([self._best, line], self.run.goals)
        if best != self._best:
            self._session.summary.update({f"best/{name}": value for name, value in best.items()})
        self._best = best
        self._sent.write(seen)

    def sample(self, images_seen: int, grid: Image.Image) -> None:
        """Sends the file of the grid."""
        del grid
        import wandb

        caption = f"{images_seen / 1000:g} kimg: {self.run.caption}"
        picture = wandb.Image(str(self.run.picture(images_seen)), caption=caption)
        self._log(images_seen, {"images_seen": images_seen, "samples": picture})

    def evaluated(self, images_seen: int, evaluation: Mapping[str, Any]) -> None:
        """Makes tables of the metrics beside those of real images, and of the classes, for the next log line."""
        import wandb

        rows = evaluation_rows(evaluation)
        tables: dict[str, Any] = {"evaluation": wandb.Table(columns=list(EVALUATION_COLUMNS), data=rows)}
        if shares := class_shares(evaluation, self.run.class_names):
            table = wandb.Table(columns=["class", "samples", "real images"], data=shares)
            tables["classes"] = wandb.plot.bar(table, "class", "samples", title="share of each class")
        self._tables = {"images_seen": images_seen, **tables}

    def warned(self, alarm: Alarm) -> None:
        """Sends an alert, which Weights & Biases may forward by mail or Slack."""
        self._session.alert(title=alarm.kind, text=alarm.text, level="WARN")

    def keep(self, generator: SavedGenerator) -> None:
        """Keeps a generator as an artifact."""
        import wandb

        described = {"images_seen": generator.images_seen, **self.run.metadata, "settings": dict(self.run.config)}
        artifact = wandb.Artifact(f"generator-{self._id}", type="model", metadata=described)
        for file in (*generator.files, self.run.folder.config):
            artifact.add_file(str(file))
        self._session.log_artifact(artifact, aliases=list(generator.aliases))

    def finish(self) -> None:
        """Ends the run there."""
        self._session.finish()

    def _log(self, images_seen: int, values: Mapping[str, Any]) -> None:
        if images_seen > self._again:
            self._session.log(dict(values), step=images_seen)


def _run_id(run: Tracked) -> str:
    """Returns the run's own id, that of a sweep's agent, or a new one."""
    saved = run.folder.read_metadata().get("wandb_id")
    return str(saved or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4))


class _LastStep:
    """The last step that was sent, in a file: after a kill, it is not known from a checkpoint."""

    def __init__(self, file: Path, *, anew: bool) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        if anew:
            file.unlink(missing_ok=True)

    def read(self) -> int:
        with suppress(OSError, ValueError):
            return int(self.file.read_text(encoding="ascii"))
        return -1

    def write(self, step: int) -> None:
        # In place and of one length, so that a kill never leaves the file empty.
        with self.file.open("r+b" if self.file.exists() else "wb", buffering=0) as file:
            file.write(b"%015d" % step)
