"""A variant: the object that a plugin exports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from gan_core.game.data_spec import DataSpec
    from gan_core.game.game import Game

API = 2
"""Version of the plugin interface that this gan_core supports. It changes only with an entry in CHANGELOG.md."""


class Options(BaseModel):
    """Base class of a variant's options: a frozen pydantic model.

    Each field has a type, a default, bounds where they apply, and a docstring below it, which is its help text.
    `gan_core show NAME` prints the fields, and `--set key=value` is checked against them.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    unsuitable: ClassVar[Mapping[str, str]] = {}
    """Options of other variants that do not apply to this one, with the reason that the error message gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One kind of GAN: the object that an entry point in the group `gan_core.variants` refers to.

    Attributes:
        api: Version of the plugin interface that the variant was written for: `api=2`.
        options: The class of its options, a subclass of `Options` in which every field has a default.
        build: `build(options, data)` returns the game, on the CPU, with initial weights drawn from torch's global
            generator. It raises ValueError, before it makes any network, if the options and the data do not match.
        paper: Citation of the publication.
        needs: The fields that it needs of a data set; fields that must belong together row by row are a tuple of their
            own: (("images", "labels"),) for labelled images, (("a", "b"),) for pairs, ("a", "b") for two domains.
        defaults: Settings of a run that have another default for this variant: `{"batch": 1, "ema_kimg": 0}`. Only
            those that `train --help` lists under length and optimisation.
        sampling: The class of the options with which samples are drawn, such as truncation: `sample --set` and
            `evaluate --set` are checked against it.
        small: Options of small networks, with which the conformance checks take seconds: `{"width": 8}`.
    """

    api: int
    options: type[Options]
    build: Callable[[Any, "DataSpec"], "Game"]
    paper: str = ""
    needs: tuple[str | tuple[str, ...], ...] = ("images",)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sampling: type[Options] = Options
    small: Mapping[str, Any] = field(default_factory=dict)

    def tables(self) -> list[tuple[str, ...]]:
        """Returns `needs` as the fields of each table."""
        return [(names,) if isinstance(names, str) else names for names in self.needs]
