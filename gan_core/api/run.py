"""`gan_core.Run`: a run as an object, with its generator, samples, metrics and evaluation."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_core.api.undisturbed import undisturbed
from gan_core.app.evaluating import evaluate_run
from gan_core.app.load import LoadedRun, load_run
from gan_core.app.sampling import class_number, open_samples
from gan_core.console import PlainConsole
from gan_core.errors import UserError
from gan_core.evaluation.source import drawn_blocks
from gan_core.precision import arithmetic
from gan_core.runs.folder import RunFolder
from gan_core.runs.selection import NEWEST
from gan_core.sampling.given import BLOCK
from gan_core.settings.evaluation import EvaluationSettings
from gan_core.settings.resolve import validated


def load(run: str | Path, checkpoint: str | int = NEWEST) -> "Run":
    """Loads a run.

    Args:
        run: Its folder.
        checkpoint: "newest"; "best" by the metric of `keep_lowest` or `keep_highest`; or the images seen.

    Raises:
        UserError: The folder contains no run, or the run has no such checkpoint.
    """
    loaded = Run(run, checkpoint)
    _ = loaded.networks
    return loaded


class Run:
    """A run in its folder, at one of its checkpoints, which is read when it is first needed."""

    def __init__(self, folder: str | Path, checkpoint: str | int = NEWEST) -> None:
        self.folder = Path(folder)
        self.checkpoint = checkpoint

    def __repr__(self) -> str:
        return f"<Run {str(self.folder)!r}: {self.status}>"

    @property
    def status(self) -> str:
        """How training ended: "finished", "interrupted" or "failed"; "running" while it has not."""
        return str(RunFolder(self.folder).read_metadata().get("status", ""))

    @property
    def images_seen(self) -> int:
        """Real images seen at the checkpoint."""
        return self._loaded.images_seen

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, and the variant's options under "options"."""
        return RunFolder(self.folder).read_config()

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The averaged networks by name, in eval mode and without gradients."""
        return self._loaded.networks

    @property
    def generator(self) -> nn.Module:
        """The averaged generator, in eval mode and without gradients: a plain module of PyTorch.

        Raises:
            UserError: The variant averages several networks; `networks` has them by name.
        """
        networks = self.networks
        if len(networks) == 1 or "generator" in networks:
            return networks.get("generator") or next(iter(networks.values()))
        names = " or ".join(f"run.networks[{name!r}]" for name in networks)
        raise UserError(f"generator: {str(self.folder)!r} has {len(networks)} averaged networks. Take {names}")

    def sample(
        self,
        count: int = 64,
        *,
        seed: int = 0,
        labels: int | str | Sequence[int | str] | Tensor | None = None,
        output: str | None = None,
        **options: object,
    ) -> Tensor:
        """Draws samples: those of `gan_core sample` with the same seed.

        Args:
            count: How many.
            seed: Seed of the latents.
            labels: A class for all samples, by name or number, or one for each of them; None takes all classes in
                rotation.
            output: The output's name, if the variant has several.
            options: The variant's sampling options.

        Returns:
            Images (count, C, H, W) uint8 on the CPU.

        Raises:
            UserError: One of them is not allowed.
        """
        if count < 1:
            raise UserError(f"count: {count} is not allowed. It must be at least 1")
        settings = self._loaded.settings
        opened = open_samples(self._loaded, seed=seed, label=None, output=output, source=None, options=options)
        sampler = opened.sampler
        blocks = -(-count // BLOCK)
        if labels is None or isinstance(labels, int | str):
            number = None if labels is None else class_number(sampler, str(labels))
            numbers = sampler.labels(blocks * BLOCK, number)
        else:
            asked = labels.tolist() if isinstance(labels, Tensor) else labels
            numbers = torch.tensor([class_number(sampler, str(label)) for label in asked])
            if len(numbers) != count:
                raise UserError(f"labels: {len(numbers)} are given for {count} samples. Give one for each")
        with undisturbed(), arithmetic(**settings.arithmetic):
            sampler.prepare()
            return torch.cat(list(drawn_blocks(sampler, numbers, range(blocks))))[:count]

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The lines of the log, as rows for `pandas.DataFrame`."""
        return RunFolder(self.folder).read_metrics()

    def evaluate(self, *, quiet: bool = False, **settings: object) -> dict[str, Any] | None:
        """Evaluates this checkpoint as `gan_core evaluate`, and writes the result into the run's folder.

        Under `accelerate launch` or `torchrun`, every process must call it.

        Args:
            quiet: Print nothing and show no progress.
            settings: Settings as `gan_core evaluate --help` lists them (`samples`, `features`, ...), options of the
                feature space, and sampling options.

        Returns:
            The content of evaluation.json, with each metric above its floor, on the main process; None on the others.

        Raises:
            UserError: Something is wrong that the user can fix.
        """
        known = {key: value for key, value in settings.items() if key in EvaluationSettings.model_fields}
        options = {key: value for key, value in settings.items() if key not in known}
        request = validated(EvaluationSettings, known)
        with undisturbed():
            return evaluate_run(self.folder, request, options, PlainConsole(quiet=quiet, stderr=True), self.checkpoint)

    @cached_property
    def _loaded(self) -> LoadedRun:
        with undisturbed():  # Networks draw their first weights before they get those of the checkpoint.
            return load_run(self.folder, which=self.checkpoint)
