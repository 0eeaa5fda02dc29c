"""The dealer: gives every turn its batch, the same one on any number of processes and after any resume."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from gan_core.data.dataset import Images, RealBatch
from gan_core.data.image_order import ImageOrder
from gan_core.game.batch import Batch, place
from gan_core.game.game import Game
from gan_core.game.phase import Phase
from gan_core.randomness import Share, Streams, TurnRandomness


class Dealer:
    """Draws batches as functions of (seed, phase, images seen)."""

    def __init__(
        self,
        *,
        game: Game,
        images: Images,
        count: int,
        batch: int,
        accumulate: int,
        seed: int,
        share: Share,
        like: Tensor,
    ) -> None:
        """Takes the split's images and how many they are; `like` has the device and the dtype of what is dealt."""
        self.game, self.images, self.batch, self.share, self.like = game, images, batch, share, like
        self.parts, self.streams = share.micro_batches(batch, accumulate), Streams(seed)
        self.order = ImageOrder(self.streams, count)
        self.round_images = batch * game.turns

    def rounds(self, images_seen: int) -> Iterator[Sequence[RealBatch]]:
        """Yields this process's real images for one round after another: a uint8 batch for each turn in it."""
        stream = self.images.batches(self.order.batches(images_seen, self.batch, self.parts))
        while True:
            yield [next(stream) for _ in range(self.game.turns)]

    def deal(self, phase: Phase, real: RealBatch, position: int) -> list[Batch]:
        """Returns the micro-batches of one turn, which stands at `position` in the sequence of images.

        Reseeds torch's global generators on the way, for dropout and the like.
        """
        images, labels = real
        images = images.to(self.like).div_(127.5).sub_(1.0)
        inputs = self.game.draw(self.streams.at(f"inputs of {phase.name}", position), self.batch * phase.fakes, None)
        self.streams.seed_modules(f"modules in {phase.name}", position, self.share.rank)
        size = images.shape[0] // len(self.parts)
        batches = []
        for number, part in enumerate(self.parts):
            mine = slice(number * size, (number + 1) * size)
            fakes = slice(part.start * phase.fakes, part.stop * phase.fakes)
            random = self.streams.at(f"loss of {phase.name}", position)
            batches.append(
                Batch(
                    images=images[mine],
                    labels=None if labels is None else labels[mine],
                    inputs=place({name: tensor[fakes] for name, tensor in inputs.items()}, self.like),
                    random=TurnRandomness(random, self.batch, part, self.like),
                )
            )
        return batches
