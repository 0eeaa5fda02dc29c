"""The trackers of a run: which are started, with what, and the generators that they keep at the end."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from gan_core.app.job import Job
from gan_core.console import warn
from gan_core.errors import UserError
from gan_core.game.game import Game
from gan_core.observers.tensorboard import TensorBoard
from gan_core.observers.tracker import SavedGenerator, Tracked, Tracker, Trackers
from gan_core.observers.weights_and_biases import WeightsAndBiases
from gan_core.runs.checkpoint import Checkpoint, newest
from gan_core.runs.folder import RunFolder
from gan_core.runs.goal import Goal
from gan_core.runs.selection import BEST, select
from gan_core.settings.flatten import dotted

_START: Mapping[str, Callable[[Tracked], Tracker]] = {"wandb": WeightsAndBiases, "tensorboard": TensorBoard}


def start_trackers(
    trackers: Trackers, job: Job, game: Game, folder: RunFolder, metadata: Mapping[str, Any], saved: Checkpoint | None
) -> None:
    """Starts the trackers that the settings name. Main process only.

    Args:
        trackers: Where they are added.
        job: The run.
        game: Its game.
        folder: Its folder.
        metadata: Its versions, data and device.
        saved: The checkpoint from which it is resumed, or None.

    Raises:
        UserError: One cannot be started, and `track_required` is set.
    """
    settings, spec = job.settings, job.dataset.spec
    goals: dict[str, Goal] = {}
    if settings.keep_lowest is not None:
        goals[settings.keep_lowest] = "min"
    if settings.keep_highest is not None:
        goals[settings.keep_highest] = "max"
    run = Tracked(
        folder=folder,
        settings=settings,
        config=dotted(job.config()),
        metadata=metadata,
        resumed_at=None if saved is None else saved.images_seen,
        class_names=spec.class_names if spec.classes else (),
        caption=f"{next(iter(game.outputs))}, fixed latents of seed {settings.seed}, averaged generator",
        goals=goals,
    )
    for name in settings.track or ():
        error = trackers.start(name, lambda name=name: _START[name](run))  # type: ignore[misc]
        if error is None:
            continue
        reason = f"{name} could not be started: {type(error).__name__}: {error}{_LOGIN if name == 'wandb' else ''}"
        if settings.track_required:
            trackers.finish()
            raise UserError(f"track: {reason}\nWithout --track-required, a run trains without it")
        warn(f"{reason}\nTraining goes on without it; --track-required makes this an error")


_LOGIN = (
    "\nFor Weights & Biases log in with `wandb login`, or set WANDB_API_KEY; or set WANDB_MODE=offline, and send the "
    "run later with `wandb sync`"
)


def keep_generators(trackers: Trackers, job: Job, folder: RunFolder) -> None:
    """Gives the trackers the final generator of a finished run, and its best one where the run kept it by a metric."""
    if not trackers.started:
        return
    final = newest(folder.checkpoints, warn)
    if final is None:
        return
    best = None
    if job.settings.keep_lowest or job.settings.keep_highest:
        with suppress(UserError):  # The metric may not have been logged, of a data set that is too small.
            best = select(folder, BEST, job.settings, warn)
    if best is not None and best.images_seen != final.images_seen:
        trackers.keep(_saved(best, "best"))
    both = ("final", "best") if best is not None and best.images_seen == final.images_seen else ("final",)
    trackers.keep(_saved(final, *both))


def _saved(checkpoint: Checkpoint, *aliases: str) -> SavedGenerator:
    files = tuple(sorted(checkpoint.path.glob("ema-*.safetensors")))
    return SavedGenerator(files=files, images_seen=checkpoint.images_seen, aliases=aliases)
