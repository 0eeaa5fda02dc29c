"""The training loop, the same for every kind of GAN."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from accelerate import Accelerator
from PIL import Image

from gan_core.distributed.stop import StopRequests
from gan_core.distributed.world import wait_for_all
from gan_core.runs.folder import RunFolder
from gan_core.runs.retention import prune
from gan_core.settings.settings import Settings
from gan_core.training.batch_source import BatchSource
from gan_core.training.clock import Clock
from gan_core.training.meter import Meter
from gan_core.training.observer import Observer
from gan_core.training.state import TrainingState, cadence, due

Status = Literal["finished", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """A run, set up for training.

    Attributes:
        accelerator: The run's accelerator.
        settings: The run's settings.
        length: Images in total.
        state: The state from which the run starts or resumes; the loop updates it.
        source: The batches.
        folder: Where checkpoints are written.
        draw_grid: Draws a grid of samples; called on the main process.
        observers: Called on the main process.
        evaluate: Returns the generator's metrics; called on all processes. None disables evaluation.
    """

    accelerator: Accelerator
    settings: Settings
    length: int
    state: TrainingState
    source: BatchSource
    folder: RunFolder
    draw_grid: Callable[[], Image.Image]
    observers: tuple[Observer, ...]
    evaluate: Callable[[], dict[str, float]] | None = None


def train(run: Training) -> Status:
    """Trains until the run's length is reached or a stop is requested.

    Args:
        run: The run, set up; training starts from `run.state`.

    Raises:
        NotFiniteError: A term or a gradient is NaN or infinite. The last checkpoint is unchanged.
    """
    accelerator, settings, state, source = run.accelerator, run.settings, run.state, run.source
    observers = run.observers if accelerator.is_main_process else ()
    step_images = source.step_images  # Real images in one step.
    log_every = cadence(settings.log_every, run.length // 500)
    sample_every = cadence(settings.sample_every, run.length // 20)
    checkpoint_every = cadence(settings.checkpoint_every, run.length // 20)
    evaluate_every = None if run.evaluate is None else cadence(settings.evaluate_every, run.length)
    meter = Meter(accelerator, settings.nan_limit)
    resumed_at, logged_at, clock = state.images_seen, state.images_seen, Clock(accelerator.device)

    with StopRequests(accelerator) as stop:
        while True:
            # Decide what is due before the step, so that the first and the last iteration take the same path.
            step = state.images_seen // step_images
            done = state.images_seen >= run.length
            stopping = stop.agreed()
            evaluating = evaluate_every is not None and (done or due(evaluate_every, state.images_seen, step_images))
            saving = done or stopping or evaluating or due(checkpoint_every, state.images_seen, step_images)

            # Log. Always before a checkpoint, so that no NaN is saved and a resumed run has the same log points.
            if state.images_seen > logged_at and (saving or due(log_every, state.images_seen, step_images)):
                terms = meter.read()  # Waits for the device, which the rate must include.
                rate = (state.images_seen - logged_at) / clock.seconds()
                line = {
                    "images_seen": state.images_seen,
                    "step": step,
                    "images_per_second": round(rate, 1),
                    **terms,
                    **{
                        f"{name}/learning rate": trainer.optimizer.learning_rate
                        for name, trainer in state.trainers.items()
                    },
                }
                if evaluating and run.evaluate is not None:
                    line |= run.evaluate()
                for observer in observers:
                    observer.log(line)
                logged_at = state.images_seen

            # Draw samples, also of the untrained networks. A resumed run has already drawn the grid at its checkpoint.
            new = state.images_seen > resumed_at or state.images_seen == 0
            if new and observers and (done or due(sample_every, state.images_seen, step_images)):
                with clock.paused():
                    grid = run.draw_grid()
                    for observer in observers:
                        observer.sample(state.images_seen, grid)

            # Save.
            if saving and state.images_seen > resumed_at:
                state.check(accelerator, local_statistics=settings.batchnorm == "local")
                if accelerator.is_main_process:
                    state.save(run.folder.checkpoints, run.folder.logged())
                    run.folder.write_metadata(images_saved=state.images_seen)
                    prune(run.folder, settings, state.images_seen)
                wait_for_all(accelerator)
            if done or stopping:
                return "finished" if done else "interrupted"
            if logged_at == state.images_seen:
                clock.restart()  # The rate excludes sampling, evaluation and saving.

            # Take one step: the updates of every phase in order, each on fresh images.
            for phase, batches in source.step(state.images_seen):
                meter.add(phase.name, state.trainers[phase.name].update(batches, state.images_seen), step)

            # Count the images, and update the EMA networks.
            state.images_seen += step_images
            for average in state.averages.values():
                average.update(step_images, state.images_seen)
            for observer in observers:
                observer.advance(state.images_seen)
