"""A phase: one loss, the networks that it trains, and their optimizer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gan_core.game.batch import Batch, Moment

Networks = Mapping[str, nn.Module]
"""A game's networks by name. Inside a loss they are plain, unwrapped modules; call each any number of times."""

Terms = Mapping[str, Tensor]
"""Named scalar tensors. Terms that require a gradient are summed to the loss; detached terms are only logged."""

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
"""Returns an optimizer of the given parameters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """The networks that are trained together, their loss and optimizer, and how often they are updated.

    A training step updates the phases of a game in order. For an update the core makes a batch, freezes the networks
    that the phase does not train, calls the loss and sums its terms. The core also runs the backward pass, scales and
    clips the gradient, and steps the optimizer: a loss never calls `.backward()` or `.step()`.

    Attributes:
        name: Unique name of the phase; it prefixes the phase's terms in the log ("discriminator/real").
        trains: Names of the networks that the phase trains, at least one. All others are frozen during its updates.
        loss: `loss(networks, batch)` returns named scalar terms; the names must be the same in every update. On several
            processes, a trained parameter that gets a gradient in the first update must get one in every update: add
            0 * parameter.sum() to a term for the layers that an update skips.
        optimizer: Makes the optimizer from the trained parameters; see `gan_core.adam`. With precision fp16, those of
            torch without `fused=True` wait for the device in every update. Or the name of another phase, which trains
            at least the same networks, and whose optimizer also takes this phase's steps: one set of moments.
        repeats: Consecutive updates per training step, each on a new batch (the critic steps of WGAN).
        every: The phase is updated in every N-th training step, starting with the first. Lazy regularisation (Karras et
            al. 2020, StyleGAN2, appendix B) shares the optimizer of the main phase, multiplies its terms by N, and
            makes that optimizer with `adam(..., lazy_every=N)`. An optimizer of its own that divides by the size of its
            gradients (Adam, RMSProp) cancels the weight of the phase's terms.
        fakes: Number of fakes in a batch per real row.
        make_fake: `make_fake(networks, batch)` returns fakes by name, which the loss has as `Batch.fake`.
        on: Name of an earlier phase, on whose batch of the same step this phase is updated too: the same real rows,
            inputs, random numbers and fakes. It has the same `fakes`, `repeats` and `every`, and no `make_fake`. Fakes
            are made once for all phases on a batch, and again only for a phase that trains what has changed since.
        tune: `tune(moment)` returns settings of the optimizer for this update, such as {"lr": 1e-4, "betas": (0, 0.9)};
            they may depend on the game's state. Learning rates also follow the run's `lr_schedule`.
        after: `after(networks, terms, batch)` is called after each optimizer step under `torch.no_grad()`, with the
            terms averaged over all processes and the update's last micro-batch (the weight clipping of WGAN, the update
            of k in BEGAN). The terms that it returns, if any, are logged. With precision fp16 it is also called where
            the gradient is not finite; then its changes of weights, buffers and `Game.state` are undone.
    """

    name: str
    trains: tuple[str, ...]
    loss: Callable[[Networks, Batch], Terms]
    optimizer: MakeOptimizer | str
    repeats: int = 1
    every: int = 1
    fakes: int = 1
    make_fake: Callable[[Networks, Batch], Mapping[str, Tensor]] | None = None
    on: str | None = None
    tune: Callable[[Moment], Mapping[str, Any]] | None = None
    after: Callable[[Networks, Terms, Batch], Terms | None] | None = None

    def __post_init__(self) -> None:
        for field in ("repeats", "every", "fakes"):
            if getattr(self, field) < 1:
                raise ValueError(f"phase {self.name!r}: {field} is {getattr(self, field)}, but must be at least 1")
        if not self.trains:
            raise ValueError(f"phase {self.name!r} trains no network: name at least one in `trains`")
