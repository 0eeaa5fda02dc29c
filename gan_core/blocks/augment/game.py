"""A game whose discriminator sees augmented images: D(T(x)) in place of D(x), in every phase."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gan_core.blocks.augment.ada import Ada
from gan_core.blocks.augment.rows import RowRandomness
from gan_core.errors import UserError
from gan_core.game.batch import Batch
from gan_core.game.game import Game
from gan_core.game.phase import Networks, Phase, Terms


class Augmentation(Protocol):
    """A random, differentiable transformation T of images."""

    def __call__(self, images: Tensor, random: RowRandomness, /) -> Tensor:
        """Returns the transformed images, (B, C, H, W), for images in [-1, 1]."""


class AugmentedNetwork(nn.Module):
    """A discriminator with T before it, for one batch; it remembers the sign of its output on the real images."""

    def __init__(self, network: nn.Module, augmentation: Augmentation, batch: Batch, boundary: float) -> None:
        super().__init__()
        self.network, self.augmentation, self.batch, self.boundary = network, augmentation, batch, boundary
        self.sign: Tensor | None = None

    def forward(self, images: Tensor, *arguments: Any, **named: Any) -> Any:
        """Returns what the network returns for the augmented images. Each call draws new transformations."""
        random = RowRandomness(self.batch.random, len(self.batch.images), len(images))
        with torch.autocast(images.device.type, enabled=False):
            augmented = self.augmentation(images.to(torch.promote_types(images.dtype, torch.float32)), random)
        judged = self.network(augmented, *arguments, **named)
        if self.sign is None and _same_memory(images, self.batch.images):
            score = judged if isinstance(judged, Tensor) else judged[0]
            self.sign = (score.detach().float() - self.boundary).sign().mean()
        return judged


def augmented(game: Game, augmentation: Augmentation, *, network: str = "discriminator", boundary: float = 0.0) -> Game:
    """Returns the game with T before its discriminator, for real images and fakes, in the losses of all phases.

    A gradient penalty of such a game is that of D(T(x)) by the image x before it is augmented, as in the programs of
    both papers. Losses must call the discriminator as a module, with images first, on the batch's real images alone and
    on fakes alone. With `Ada`, p is changed after the first phase that trains the discriminator, whose terms get
    "sign(real)", r_t of Karras et al. 2020, equation 1, over all processes, and "p".

    Args:
        game: The game.
        augmentation: T: `DiffAugment` or `Ada`.
        network: The name of the discriminator. It returns scores (B,) or a tuple that begins with them.
        boundary: The score above which it takes an image for a real one.

    Raises:
        ValueError: No phase trains the discriminator.
    """
    training = [phase.name for phase in game.phases if network in phase.trains]
    if not training:
        raise ValueError(f"no phase trains {network!r}; the networks are {sorted(game.networks)}")
    ada = augmentation if isinstance(augmentation, Ada) else None

    def changed(phase: Phase) -> Phase:
        adapting = ada if phase.name == training[0] else None

        def loss(networks: Networks, batch: Batch) -> Terms:
            judge = AugmentedNetwork(networks[network], augmentation, batch, boundary)
            terms = phase.loss({**networks, network: judge}, batch)
            if adapting is None:
                return terms
            if judge.sign is None:
                raise UserError(f"augment=ada: phase {phase.name!r} does not call {network!r} on the batch's images")
            return {**terms, "sign(real)": judge.sign}

        return replace(phase, loss=loss, after=phase.after if adapting is None else _followed_by(adapting, phase))

    state = game.state if ada is None else {**game.state, "augmentation": ada}
    return replace(game, phases=[changed(phase) for phase in game.phases], state=state)


def _followed_by(ada: Ada, phase: Phase) -> Callable[[Networks, Terms, Batch], Terms]:
    """Returns what follows the updates of the phase: its own `after`, and the change of p."""

    def after(networks: Networks, terms: Terms, batch: Batch) -> Terms:
        more = None if phase.after is None else phase.after(networks, terms, batch)
        ada.adapt(terms["sign(real)"], batch.moment.batch)
        return {**(more or {}), "p": ada.p.clone()}

    return after


def _same_memory(first: Tensor, second: Tensor) -> bool:
    """Returns whether tensors are the same rows, though one may be detached. Looks at no values: nothing waits."""
    return first.shape == second.shape and first.untyped_storage()._cdata == second.untyped_storage()._cdata
