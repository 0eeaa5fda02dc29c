"""Setting a run up: images and networks on their devices, and the checkpoint from which it goes on."""

import sys
from collections.abc import Collection
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from gan_core.app.job import Job
from gan_core.data.dataset import Images
from gan_core.distributed.batchnorm import synchronise
from gan_core.distributed.world import blank, share_of
from gan_core.errors import UserError, did_you_mean
from gan_core.evaluation.judge import figure_names
from gan_core.game.game import Game
from gan_core.runs.checkpoint import Checkpoint, newest
from gan_core.runs.folder import RunFolder
from gan_core.runs.resume import check_resume
from gan_core.settings.flatten import flatten
from gan_core.settings.settings import Settings
from gan_core.training.dealer import Dealer
from gan_core.training.ema import Ema
from gan_core.training.phase_module import PhaseModule
from gan_core.training.player import Player
from gan_core.training.schedule import Schedule
from gan_core.training.snapshot import snapshot
from gan_core.training.state import TrainingState


def build_state(job: Job, accelerator: Accelerator, game: Game, dealer: Dealer, length: int) -> TrainingState:
    """Puts the game on the device and makes its players and averages."""
    settings, device = job.settings, accelerator.device
    networks = {name: network.to(device, dealer.like.dtype).train() for name, network in game.networks.items()}
    memory = dict(game.state)
    for name, owner in memory.items():
        if isinstance(owner, torch.nn.Module):
            memory[name] = owner.to(device)
    if accelerator.num_processes > 1 and settings.batchnorm == "global":
        networks = synchronise(networks, device)
    modules = [PhaseModule(phase, networks) for phase in game.phases]
    remember = partial(snapshot, networks, memory)
    put_back = remember()
    _probe(modules, dealer)
    put_back()
    _check_figures(settings, modules)
    schedule = Schedule(
        kind=settings.lr_schedule, begin=int(settings.lr_decay_from * length), end=length, final=settings.lr_final
    )
    averages = {name: Ema(networks[name], settings.ema_kimg * 1000, settings.ema_ramp_up) for name in game.ema}
    skipping = remember if settings.on_nan == "skip" else None
    players = [Player(module, accelerator, schedule, settings.clip_norm, skipping) for module in modules]
    return TrainingState(networks=networks, averages=averages, players=players, memory=memory)


def _probe(modules: list[PhaseModule], dealer: Dealer) -> None:
    """Tells every phase its terms, and which of its parameters its loss does not reach."""
    reals = next(dealer.rounds(0))
    for module in modules:
        module.find_unreached(dealer.deal(module.phase, reals[0], 0)[0])


def _check_figures(settings: Settings, modules: list[PhaseModule]) -> None:
    figures = [f"{module.phase.name}/{term}" for module in modules for term in (*module.terms, "gradient norm")]
    figures += figure_names(settings.evaluate_samples) if settings.evaluate_every is not None else []
    for key in ("keep_lowest", "keep_highest"):
        value = getattr(settings, key)
        if value is not None and value not in figures:
            hint = did_you_mean(value, figures)
            raise UserError(f"{key}: {value!r} is no figure of this run.{hint} Allowed: {', '.join(figures)}")


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def find_checkpoint(
    job: Job, folder: RunFolder, accelerator: Accelerator, facts: dict[str, Any], allowed: Collection[str]
) -> Checkpoint | None:
    """Decides where the run begins: at a whole checkpoint of the same run, or afresh.

    Raises:
        UserError: The run there was made with other settings.
    """
    # The main process reads and decides for all.
    found = [newest(folder.checkpoints, _warn) if accelerator.is_main_process else None]
    broadcast_object_list(found)
    if found[0] is not None:
        check_resume(
            flatten(folder.read_config(), folder.read_facts()),
            flatten(job.config(), facts),
            allowed=allowed,
            schedule_uses_length=job.settings.lr_schedule != "constant",
        )
    return found[0]


def read_images(job: Job, accelerator: Accelerator) -> Images:
    """Reads the split for training; one process of each machine goes first, for it may have to download."""
    with accelerator.local_main_process_first():
        return job.dataset.read("train")


def make_dealer(job: Job, accelerator: Accelerator, game: Game, images: Images) -> Dealer:
    """Makes who gives every turn its batch."""
    settings = job.settings
    return Dealer(
        game=game,
        images=images,
        count=job.dataset.spec.count,
        batch=settings.batch,
        accumulate=settings.accumulate,
        seed=settings.seed,
        share=share_of(accelerator),
        like=blank(accelerator.device, settings.precision),
    )
