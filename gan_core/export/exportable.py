"""A run's generator as one module with positional inputs, which torch can write to a file."""

import keyword
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from gan_core.app.load import LoadedRun
from gan_core.errors import UserError
from gan_core.game.output import Output
from gan_core.game.phase import Networks
from gan_core.sampling.sampler import Sampler
from gan_core.transfer import place

EXAMPLES = 16
"""How many samples' inputs are exported as an example."""
_TRACED = 3
"""The batch with which the generator is traced; not 1, which torch treats as a constant."""


class OutputModule(nn.Module):
    """Networks and how an output draws with them: inputs in the order of their names -> images (B, C, H, W)."""

    def __init__(self, networks: Networks, output: Output, name: str, names: tuple[str, ...], options: Any) -> None:
        super().__init__()
        self.output, self.name, self.names, self.options = output, name, names, options
        self.owners = tuple(networks)
        for owner, network in networks.items():
            self.add_module(owner, network)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns the images in [-1, 1]."""
        networks = {owner: self.get_submodule(owner) for owner in self.owners}
        images = self.output.generate(networks, dict(zip(self.names, inputs, strict=True)), self.options)
        return images[self.name] if isinstance(images, Mapping) else images


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A generator that is to be exported.

    Attributes:
        module: It, on the CPU in eval mode.
        inputs: Its inputs for the first 16 samples of seed 0, by name in the order in which the module takes them.
        images: What it draws from them: (16, C, H, W) in [-1, 1].
        labels: The input with the numbers of classes, if it has one.
        pictures: The inputs that are images.
        name: The output's name.
    """

    module: OutputModule
    inputs: dict[str, Tensor]
    images: Tensor
    labels: str | None
    pictures: tuple[str, ...]
    name: str

    def program(self) -> ExportedProgram:
        """Returns the generator as torch.export traces it, for any number of images, without paths of this machine.

        Raises:
            UserError: torch cannot trace it.
        """
        example = tuple(rows[:_TRACED] for rows in self.inputs.values())
        shapes = (tuple({0: Dim.DYNAMIC} for _ in example),)
        try:
            with quiet():
                program = torch.export.export(self.module, example, dynamic_shapes=shapes)
        except Exception as error:  # Of code that it cannot trace, torch raises anything.
            raise UserError(f"format: this generator cannot be traced by torch.export: {_first_line(error)}") from error
        for node in program.graph.nodes:
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
                node.meta.pop(key, None)
        return program

    def check(self, images: Tensor) -> None:
        """Checks what the exported file draws from the example.

        Args:
            images: (16, C, H, W) in [-1, 1].

        Raises:
            UserError: They are not those of the run, to 1e-5.
        """
        difference = float((images - self.images).abs().max()) if images.shape == self.images.shape else float("inf")
        if not difference <= 1e-5:
            raise UserError(
                f"format: the exported generator draws other images than the run (they differ by {difference:.3g}), "
                "because it draws random numbers itself or depends on its batch. Nothing was written"
            )


@torch.no_grad()
def exportable(run: LoadedRun, output: str | None, options: Mapping[str, object]) -> Exportable:
    """Returns the generator of an output of a run that was loaded on the CPU.

    Raises:
        UserError: There is no such output, or a sampling option is not allowed.
    """
    sampler: Sampler = run.sampler(0, output, options)
    sampler.prepare()
    fields = {name: run.data.image(name) for name in sampler.images_given}
    random = torch.Generator().manual_seed(0)
    rows = {
        name: torch.randint(256, (EXAMPLES, *field.shape), generator=random, dtype=torch.uint8)
        for name, field in fields.items()
    }
    labels = sampler.labels(EXAMPLES)
    given = sampler.request(0, labels, rows=rows, count=EXAMPLES).given
    drawn = sampler.inputs(0, labels, rows=rows, count=EXAMPLES)
    inputs = {
        _argument(name, at): rows for at, (name, rows) in enumerate(place(drawn, run.device, sampler.dtype).items())
    }
    module = OutputModule(sampler.prepared, sampler.output, sampler.name, tuple(drawn), sampler.options)
    module.eval().requires_grad_(False)
    images = [given[name].to(sampler.dtype) for name in fields]
    return Exportable(
        module=module,
        inputs=inputs,
        images=module(*inputs.values()),
        labels=next((name for name, rows in inputs.items() if labels is not None and rows.equal(labels)), None),
        pictures=tuple(name for name, rows in inputs.items() if any(map(rows.equal, images))),
        name=sampler.name,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Hides what torch's exporters say about themselves: that others are newer, and how long they took."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _argument(name: str, at: int) -> str:
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"input_{at}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
