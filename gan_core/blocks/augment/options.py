"""The options of differentiable augmentation, for variants with a discriminator."""

from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from gan_core.blocks.augment import ada, diffaugment
from gan_core.blocks.augment.game import augmented
from gan_core.errors import did_you_mean
from gan_core.game.data_spec import DataSpec
from gan_core.game.game import Game
from gan_core.game.variant import Options

OPERATIONS = {"diffaug": diffaugment.OPERATIONS, "ada": ada.OPERATIONS}


class AugmentOptions(Options):
    """Differentiable augmentation of what the discriminator sees, for data sets of few images.

    Name this class before others that a variant's options inherit from.
    """

    signed: ClassVar[bool] = True
    """Whether the sign of one output of the discriminator has a meaning; a critic sets it to False."""

    augment: Literal["none", "diffaug", "ada"] = "none"
    """Augment real and generated images before the discriminator: diffaug (Zhao et al. 2020) always; ada (Karras et al.
    2020) with a probability p that rises while the discriminator overfits."""
    augment_operations: list[str] | None = None
    """Operations; all by default. diffaug: colour, translation, cutout. ada: the groups pixel, geometric and colour, or
    single operations of them: xflip, rotate90, xint, scale, rotate, aniso, xfrac, brightness, contrast, lumaflip, hue,
    saturation."""
    augment_p: float = Field(0.0, ge=0)
    """For ada: the probability p of each operation at the beginning."""
    augment_target: float | None = Field(0.6, gt=-1, lt=1)
    """For ada: p rises while the mean sign of the discriminator's output on real images is above it, and falls while it
    is below; null keeps p."""
    augment_kimg: float = Field(500.0, gt=0)
    """For ada: thousands of real images in which p can change by 1."""

    @field_validator("augment_operations")
    @classmethod
    def _are_operations(cls, names: list[str] | None, info: ValidationInfo) -> list[str] | None:
        kind = info.data.get("augment", "none")
        allowed = OPERATIONS.get(kind)
        if names is None:
            return None
        if allowed is None:
            raise ValueError(f"null with augment={kind}")
        unknown = [name for name in names if name not in allowed]
        if unknown or not names:
            hint = did_you_mean(unknown[0], allowed).strip() if unknown else ""
            raise ValueError(f"some of {', '.join(allowed)}" + (f" ({hint})" if hint else ""))
        return names

    @field_validator("augment_p", "augment_target", "augment_kimg")
    @classmethod
    def _is_for_ada(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        default, kind = cls.model_fields[info.field_name].default, info.data.get("augment")
        if value != default and kind != "ada":
            raise ValueError(f"{default} with augment={kind}")
        return value

    @field_validator("augment_target")
    @classmethod
    def _needs_a_sign(cls, target: float | None, info: ValidationInfo) -> float | None:
        if info.data.get("augment") != "ada":
            return target
        if target is not None and not cls.signed:
            raise ValueError("null: only differences of a critic's outputs have a meaning. Set augment_p")
        if target is not None and info.data.get("objective") == "relativistic":
            raise ValueError("null with objective=relativistic, in which only differences of outputs have a meaning")
        if target is None and not info.data.get("augment_p"):
            raise ValueError("a number with augment_p=0: p would stay 0, and nothing would be augmented")
        return target

    def augmented(self, game: Game, data: DataSpec, *, network: str = "discriminator", boundary: float = 0.0) -> Game:
        """Returns the game with the augmentation that was chosen; see `gan_core.blocks.augment.game.augmented`.

        Args:
            game: The game.
            data: The data set, whose images have one size.
            network: The name of the discriminator.
            boundary: The discriminator's output above which it takes an image for a real one.
        """
        if self.augment == "none":
            return game
        operations = self.augment_operations or OPERATIONS[self.augment]
        if self.augment == "diffaug":
            return augmented(game, diffaugment.DiffAugment(operations), network=network, boundary=boundary)
        image = data.image()
        adaptive = ada.Ada(
            image.height,
            image.width,
            operations,
            p=self.augment_p,
            target=self.augment_target,
            kimg=self.augment_kimg,
        )
        return augmented(game, adaptive, network=network, boundary=boundary)
