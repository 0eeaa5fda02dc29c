"""The loop: how every game is played, whatever the kind of GAN."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from accelerate import Accelerator

from gan_core.distributed.stop import StopRequests
from gan_core.runs.folder import RunFolder
from gan_core.runs.retention import prune
from gan_core.settings.settings import Settings
from gan_core.training.dealer import Dealer
from gan_core.training.meter import Meter
from gan_core.training.state import TrainingState, cadence, due

Status = Literal["finished", "interrupted"]


class Observer(Protocol):
    """Who is told what happens: the live view and the trackers. Called on the main process only."""

    def advance(self, images_seen: int) -> None:
        """After every round."""

    def log(self, line: dict[str, float]) -> None:
        """At every log point."""

    def sample(self, images_seen: int) -> None:
        """When a grid of samples is due."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run that is set up: what plays, with what, who watches, and who judges (together with all processes)."""

    accelerator: Accelerator
    settings: Settings
    length: int
    state: TrainingState
    dealer: Dealer
    folder: RunFolder
    observers: tuple[Observer, ...]
    judge: Callable[[], dict[str, float]] | None = None


def train(run: Training) -> Status:
    """Plays rounds of the game until the run's length is reached or somebody asks to stop.

    Args:
        run: Everything, set up; `run.state` is where it goes on from.

    Raises:
        NotFiniteError: A term or a gradient is NaN or infinite. The last checkpoint is left as it was.
    """
    accelerator, settings, state, dealer = run.accelerator, run.settings, run.state, run.dealer
    observers = run.observers if accelerator.is_main_process else ()
    step_images = dealer.round_images  # Real images shown in one round.
    log_every = cadence(settings.log_every, run.length // 500)
    sample_every = cadence(settings.sample_every, run.length // 20)
    checkpoint_every = cadence(settings.checkpoint_every, run.length // 20)
    evaluate_every = None if run.judge is None else cadence(settings.evaluate_every, run.length)
    meter = Meter(accelerator, settings.nan_limit)
    rounds = dealer.rounds(state.images_seen)
    resumed_at, logged_at, clock = state.images_seen, state.images_seen, time.monotonic()

    with StopRequests(accelerator) as stop:
        while True:
            # Is there anything to do but play? Asked here, so that the first and the last round take the same path.
            step = state.images_seen // step_images
            done = state.images_seen >= run.length
            stopping = stop.agreed()
            judging = evaluate_every is not None and (done or due(evaluate_every, state.images_seen, step_images))
            saving = done or stopping or judging or due(checkpoint_every, state.images_seen, step_images)

            # Log. Always before a checkpoint: no NaN is ever saved, and a resumed run has the same log points.
            if state.images_seen > logged_at and (saving or due(log_every, state.images_seen, step_images)):
                rate = (state.images_seen - logged_at) / (time.monotonic() - clock)
                line = {
                    "images_seen": state.images_seen,
                    "step": step,
                    "images_per_second": round(rate, 1),
                    **meter.read(),
                }
                if judging and run.judge is not None:
                    line |= run.judge()
                for observer in observers:
                    observer.log(line)
                logged_at = state.images_seen

            # Draw samples, also of the untrained networks; a resumed run has its own already.
            news = state.images_seen > resumed_at or state.images_seen == 0
            if news and (done or due(sample_every, state.images_seen, step_images)):
                for observer in observers:
                    observer.sample(state.images_seen)

            # Save.
            if saving and state.images_seen > resumed_at:
                if accelerator.is_main_process:
                    state.save(run.folder.checkpoints)
                    prune(run.folder, settings, state.images_seen)
                accelerator.wait_for_everyone()
            if done or stopping:
                return "finished" if done else "interrupted"
            if logged_at == state.images_seen:
                clock = time.monotonic()  # The rate is that of playing, not of drawing and saving.

            # Play one round: every phase in its turn, each turn on fresh images.
            reals = next(rounds)
            for player in state.players:
                phase = player.phase
                for turn in range(phase.repeats if step % phase.every == 0 else 0):
                    position = state.images_seen + turn * settings.batch
                    played = player.play(dealer.deal(phase, reals[turn], position), state.images_seen)
                    meter.add(phase.name, played, step)

            # Count, and let the averages follow.
            state.images_seen += step_images
            for average in state.averages.values():
                average.update(step_images, state.images_seen)
            for observer in observers:
                observer.advance(state.images_seen)
