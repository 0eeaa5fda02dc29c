"""A game with one weight per network and losses given by the test, so that updates can be computed by hand."""

from collections.abc import Callable

import torch
from torch import nn

from gan_core import Batch, Game, Networks, Output, Phase, Terms, sgd

Loss = Callable[[Networks, Batch], Terms]


class Scale(nn.Module):
    """Multiplies its input by one weight, initially 1; a second parameter, `idle`, is unused."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.idle = nn.Parameter(torch.ones(()))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.weight * z


def toy_phase(name: str, loss: Loss, **fields: object) -> Phase:
    """Returns a phase that trains the network of the same name by gradient descent with the learning rate 0.1."""
    settings: dict[str, object] = {"trains": (name,), "optimizer": sgd(0.1)} | fields
    return Phase(name=name, loss=loss, **settings)  # type: ignore[arg-type]


def toy_game(*phases: Phase) -> Game:
    """Returns a game of two `Scale` networks with latents of 1 and images of 1 x 2 x 2 pixels."""
    return Game(
        networks={"generator": Scale(), "discriminator": Scale()},
        phases=phases,
        draw=lambda random, request: {"z": torch.ones(request.count, 1, 2, 2)},
        outputs={"images": Output(generate=lambda n, inputs, options: n["generator"](**inputs).clamp(-1, 1))},
    )
