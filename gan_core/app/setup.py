"""Setting up a run: images and networks on their devices, and the checkpoint to resume from."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from gan_core.app.initial import initial_checkpoint
from gan_core.app.job import Job
from gan_core.data.dataset import Rows
from gan_core.distributed.batchnorm import synchronise
from gan_core.distributed.rendezvous import Rendezvous
from gan_core.distributed.world import dtype_of, main_first, share_of
from gan_core.errors import UserError, did_you_mean
from gan_core.evaluation.evaluator import metric_names
from gan_core.game.batch import Moment
from gan_core.game.game import Game
from gan_core.runs.checkpoint import Checkpoint
from gan_core.runs.folder import RunFolder
from gan_core.runs.resume import check_files, check_resume, checkpoint_to_resume, note_other_device
from gan_core.sampling.given import output_named
from gan_core.settings.flatten import flatten
from gan_core.settings.settings import Settings
from gan_core.training.batch_source import BatchSource
from gan_core.training.ema import Ema
from gan_core.training.phase_module import PhaseModule
from gan_core.training.phase_trainer import PhaseTrainer
from gan_core.training.schedule import Schedule
from gan_core.training.shared_fakes import SharedFakes, layers_of
from gan_core.training.snapshot import Snapshot
from gan_core.training.state import TrainingState


def build_state(job: Job, accelerator: Accelerator, game: Game, source: BatchSource, length: int) -> TrainingState:
    """Moves the game to the device and makes its phase trainers and averages."""
    settings, device = job.settings, accelerator.device
    networks = {name: network.to(device, source.dtype).train() for name, network in game.networks.items()}
    extra_state = {
        name: owner.to(device) if isinstance(owner, torch.nn.Module) else owner for name, owner in game.state.items()
    }
    # Copied before any forward pass, because modules may cache outputs, which cannot be copied; and before their batch
    # normalisation is synchronised, because only the main process draws samples.
    half_life = _half_life(job, game, length)
    averages = {name: Ema(networks[name], half_life) for name in game.ema}
    if accelerator.num_processes > 1 and settings.batchnorm == "global":
        synchronise(networks)
    modules = [PhaseModule(phase, networks) for phase in game.phases]
    take_snapshot = partial(Snapshot, networks, extra_state)
    fakes = SharedFakes(modules, accelerator.autocast)
    _probe(modules, fakes, source, take_snapshot(weights=True))
    _check_metrics(job, game, modules)
    schedule = Schedule(
        kind=settings.lr_schedule, begin=int(settings.lr_decay_from * length), end=length, final=settings.lr_final
    )
    skipping = take_snapshot if settings.on_nan == "skip" or accelerator.scaler is not None else None
    trainers: dict[str, PhaseTrainer] = {}
    for module in sorted(modules, key=lambda module: isinstance(module.phase.optimizer, str)):  # Owners first.
        owner = module.phase.optimizer
        shared = trainers[owner].optimizer if isinstance(owner, str) else None
        trainers[module.phase.name] = PhaseTrainer(
            module, accelerator, schedule, settings.clip_norm, skipping, shared, fakes
        )
    state = TrainingState(
        networks=networks,
        averages=averages,
        trainers=trainers,
        extra_state=extra_state,
        scaler=accelerator.scaler,
    )
    state.check_readable()
    return state


def _half_life(job: Job, game: Game, length: int) -> Callable[[int], float]:
    """Returns the half-life of the averages in images, by images seen.

    It ramps up to its full value during the run (Karras et al. 2020, Training GANs with Limited Data, appendix C), and
    has it from the beginning where the run starts from the networks of another one, as in their code.
    """
    settings, own = job.settings, game.half_life
    if own is None and settings.init is not None:
        # Averages of a trained generator: ramping up would forget them within a few steps.
        return lambda _: settings.ema_kimg * 1000
    if own is None:
        return lambda seen: min(settings.ema_kimg * 1000, seen * settings.ema_ramp_up)
    return lambda seen: own(Moment(images_seen=seen, progress=min(1.0, seen / length), batch=settings.batch))


def _probe(modules: list[PhaseModule], fakes: SharedFakes, source: BatchSource, before: Snapshot) -> None:
    """Computes the loss and `after` of every phase on its first batch, to find its terms and unused parameters."""
    by_name = {module.phase.name: module for module in modules}
    for phase, batches in source.step(0):
        if module := by_name.pop(phase.name, None):
            batch = fakes.filled(phase, batches[0])
            with fakes.autocast(), layers_of(batch):
                module.find_unused(batch)
            fakes.stepped(phase)
    before.restore(torch.zeros((), dtype=torch.bool, device=source.device))


def _check_metrics(job: Job, game: Game, modules: list[PhaseModule]) -> None:
    settings, own = job.settings, ("gradient norm", "learning rate")
    metrics = [f"{module.phase.name}/{term}" for module in modules for term in (*module.terms, *own)]
    if settings.evaluate_every is not None:
        metrics += metric_names(settings.evaluate_samples, job.dataset, output_named(game, None)[1])
    for key in ("keep_lowest", "keep_highest"):
        value = getattr(settings, key)
        if value is not None and value not in metrics:
            hint = did_you_mean(value, metrics)
            raise UserError(f"{key}: {value!r} is not a metric of this run.{hint} Allowed: {', '.join(metrics)}")


def find_checkpoint(
    job: Job, folder: RunFolder, rendezvous: Rendezvous, metadata: dict[str, Any], allowed: Collection[str]
) -> Checkpoint | None:
    """Returns the newest intact checkpoint of the run to resume from, or None to start at the beginning.

    The main process reads the folder for all.

    Raises:
        UserError: The run in the folder has other settings, or none of its checkpoints can be used.
    """

    def find() -> str | None:
        if job.settings.resume == "restart":
            return None
        found, before = checkpoint_to_resume(folder), folder.read_metadata()
        check_files(folder, found, allowed)
        if found is not None or before:  # Without both, a run was killed before it wrote anything else.
            # The same images may lie in another folder now.
            moved = {"dataset"} if before.get("data") == metadata["data"] else set()
            check_resume(
                folder.root,
                flatten(_defaults(job) | folder.read_config(), before),
                flatten(job.config(), metadata),
                allowed={*allowed, *moved},
                schedule_uses_length=job.settings.lr_schedule != "constant",
            )
        if found is None:
            return None
        note_other_device(before, metadata)
        return found.path.name

    name = rendezvous.from_main("checkpoint", find)
    return None if name is None else Checkpoint(path=folder.checkpoints / name, images_seen=int(name))


def find_initial(job: Job, folder: RunFolder, rendezvous: Rendezvous) -> Checkpoint | None:
    """Returns the checkpoint of another run from whose networks a run starts anew; None without the setting `init`.

    The main process looks for all: the other run may still be training.
    """
    init = job.settings.init
    if init is None:
        return None
    path = Path(rendezvous.from_main("init", lambda: str(initial_checkpoint(init, folder).path)))
    return Checkpoint(path=path, images_seen=int(path.name))


def _defaults(job: Job) -> dict[str, Any]:
    """Returns the defaults of all settings: the values of those that the version of an earlier run did not have."""
    return Settings(variant=job.settings.variant).model_dump(mode="json")


def read_tables(job: Job, accelerator: Accelerator) -> dict[str, Rows]:
    """Reads the training split of every table; one process of each machine reads first, because it may download."""
    with main_first(accelerator, on_each_machine=True):
        return {name: job.dataset.read(name, "train") for name in job.dataset.spec.tables}


def make_batch_source(
    job: Job, accelerator: Accelerator, game: Game, tables: Mapping[str, Rows], length: int
) -> BatchSource:
    """Makes the source of the run's batches."""
    settings = job.settings
    return BatchSource(
        game=game,
        data=job.dataset.spec,
        tables={name: rows.to(accelerator.device) for name, rows in tables.items()},
        mirror=settings.mirror,
        batch=settings.batch,
        accumulate=settings.accumulate,
        length=length,
        seed=settings.seed,
        share=share_of(accelerator),
        device=accelerator.device,
        dtype=dtype_of(settings.precision),
    )
