"""`gan_core.train`: what the command of this name does, in a program or a notebook."""

from collections.abc import Sequence
from pathlib import Path

from gan_core.api.run import Run
from gan_core.api.undisturbed import undisturbed
from gan_core.app.job import make_job
from gan_core.app.training import start
from gan_core.console import PlainConsole
from gan_core.distributed.launcher import check_launcher
from gan_core.settings.resolve import resolve


def train(
    variant: str | None = None,
    dataset: str | None = None,
    *,
    config: str | Path | None = None,
    allow_change: Sequence[str] = (),
    quiet: bool = False,
    **settings: object,
) -> Run:
    """Trains a GAN, or resumes a run: the same call resumes it exactly. The result is that of `gan_core train`.

    A signal such as SIGINT, which is what the stop button of a notebook sends, ends it after the current step: a
    checkpoint is saved, and the run is returned with the status "interrupted".

    Under `accelerate launch` or `torchrun`, every process must call it.

    Args:
        variant: The GAN.
        dataset: The data set; "digits" if neither this nor `config` names one.
        config: A YAML file of settings, which the others override.
        allow_change: Settings in which a resumed run may differ.
        quiet: Print nothing and show no progress; warnings are printed all the same.
        settings: Settings, as `gan_core train --help` lists them (`kimg`, `batch`, `out`, ...), and the variant's
            options by name, as `gan_core show NAME` lists them (`width`, `lr`, ...).

    Returns:
        The run, on every process.

    Raises:
        UserError: Something is wrong that the user can fix; nothing in the run's folder was changed.
        TrainingError: Training diverged, the disk is full, or another process ended.
    """
    named = {"variant": variant, "dataset": dataset}
    given = settings | {key: value for key, value in named.items() if value is not None}
    resolved = resolve({}, config=None if config is None else Path(config), named=given)
    check_launcher()
    with undisturbed():
        start(make_job(resolved), allow_change, PlainConsole(quiet=quiet))
    return Run(resolved.settings.folder)
