"""Phases compiled by torch.compile: the loss of each, and what makes its fakes, as one graph each.

On CUDA the graphs are also recorded as CUDA graphs (mode "reduce-overhead"), because to launch the kernels of a small
network takes longer than to run them.
"""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gan_core.errors import UserError
from gan_core.game.batch import Batch
from gan_core.game.game import Game
from gan_core.game.phase import Networks, Phase

Function = Callable[[Networks, Batch], Mapping[str, Tensor]]


def compiled(game: Game, device: torch.device, backend: str = "inductor") -> Game:
    """Returns the game with phases that are compiled in their first update, which takes seconds to minutes.

    Args:
        game: The game.
        device: Where it will be played.
        backend: torch's name of what compiles.
    """

    def graph(function: Function, what: str, phase: Phase) -> Graph:
        return Graph(function, f"the {what} of phase {phase.name!r}", device, backend)

    return replace(
        game,
        phases=[
            replace(
                phase,
                loss=graph(phase.loss, "loss", phase),
                make_fake=None if phase.make_fake is None else graph(phase.make_fake, "fakes", phase),
            )
            for phase in game.phases
        ],
    )


class Graph:
    """A function of networks and a batch, compiled as one graph."""

    def __init__(self, function: Function, name: str, device: torch.device, backend: str) -> None:
        """Compiles nothing yet."""

        def call(networks: Networks, batch: Batch) -> Mapping[str, Tensor]:
            return function(networks, batch)

        # torch keeps what it has compiled by code object: functions with the same code must not share one.
        call.__code__ = call.__code__.replace(co_name=name)
        self.name, self.cuda, self._called = name, device.type == "cuda", False
        mode = "reduce-overhead" if self.cuda and backend == "inductor" else None
        self._call = torch.compile(call, fullgraph=True, dynamic=False, backend=backend, mode=mode)

    def __call__(self, networks: Networks, batch: Batch) -> Mapping[str, Tensor]:
        """Returns what the function returns.

        Raises:
            UserError: It cannot be one graph, or this batch would need another one than the first.
        """
        try:
            found = self._again(networks, batch) if self._called else self._first(networks, batch)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise UserError(f"compile: {self.name} cannot be one graph: {_reason(error)}") from error
        except RuntimeError as error:
            if "fail_on_recompile" not in str(error):
                raise
            raise UserError(f"compile: {self.name} needs another graph for each update: {_reason(error)}") from error
        self._called = True
        # A CUDA graph overwrites its outputs when it runs again.
        return {name: tensor.clone() for name, tensor in found.items()} if self.cuda else found

    def _first(self, networks: Networks, batch: Batch) -> Mapping[str, Tensor]:
        with warnings.catch_warnings():
            # torch looks for a gradient of everything that goes into a graph, also of fakes.
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
            return self._call(dict(networks), batch)

    def _again(self, networks: Networks, batch: Batch) -> Mapping[str, Tensor]:
        with torch.compiler.set_stance("fail_on_recompile"):
            return self._call(dict(networks), batch)


def _reason(error: Exception) -> str:
    """Returns the first line of torch's message, and the deepest line of the program that it names."""
    text = str(error)
    at = re.findall(r'File "(.*?)", line (\d+)', text)
    where = f" ({Path(at[-1][0]).name}, line {at[-1][1]})" if at else ""
    return f"{text.strip().splitlines()[0]}{where}. Train without --compile"
