"""What a game draws: its outputs, and what `Game.draw` is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from gan_core.game.batch import Inputs
from gan_core.game.phase import Networks


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What `Game.draw` is asked for.

    Attributes:
        count: Number of fakes.
        given: Rows that the fakes are made from, by field of `Output.given`: images (count, C, H, W) in [-1, 1], labels
            (count,) int64, on the CPU. Empty in training, where a loss has its real rows in `Batch.real` and `draw`
            samples labels itself.
        first: Number of the first fake: of all samples, or in training of the global batch.
        grid: Rows of the grid in which the images are shown: fake i stands in row i % grid. 0 where there is none.
        options: The sampling options, an object of `Variant.sampling`; None in training.
    """

    count: int
    given: Mapping[str, Tensor] = field(default_factory=dict)
    first: int = 0
    grid: int = 0
    options: Any = None


Draw = Callable[[np.random.Generator, Request], Inputs]
"""`draw(random, request)` returns the generator's inputs for `request.count` fakes, as CPU tensors.

In training the inputs of a global batch, `Moment.batch` · `Phase.fakes`, are drawn in blocks of 16; each process draws
those that its rows are in. Samples are drawn in blocks of 64, on one process each, and are the same for the same seed.
`random` is the only source of randomness, and no state changes here.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """One kind of image that a game draws.

    Attributes:
        generate: `generate(networks, inputs, options)` returns images (B, C, H, W) in [-1, 1], or several by name, of
            which the output's own name is one. It gets the averaged networks that `Game.ema` names, as plain modules in
            eval mode, under `torch.no_grad()`. For grids only the main process calls it, for an evaluation every
            process for its blocks: it must not communicate.
        like: The image field whose shape the images have, and with which an evaluation compares them.
        given: The fields of real rows that `draw` is given: labels, or the images to translate. Rows are those of a
            fixed permutation: of the training split for labels, of the test split (if there is one) for images.
        columns: Images of one sample in a grid, left to right: given fields, or what `generate` returns. Empty: one.
        rows: Rows of a grid of samples, such as the values of a code (see `Request.grid`). 0: one of each given class.
    """

    generate: Callable[[Networks, Inputs, Any], Tensor | Mapping[str, Tensor]]
    like: str = "images"
    given: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: int = 0
