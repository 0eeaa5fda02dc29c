"""A variant: the one object that a plugin exports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from gan_core.game.data_spec import DataSpec
    from gan_core.game.game import Game

API = 1
"""The plugin interface that this gan_core speaks. It changes only with an entry in CHANGELOG.md."""


class Options(BaseModel):
    """Base of a variant's options: every field typed, bounded, and described by the docstring below it.

    `gan_core show NAME` prints them, and `--set key=value` is checked against them.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    unsuitable: ClassVar[Mapping[str, str]] = {}
    """Options of other variants that make no sense here, with the reason, which is told to whoever sets one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One kind of GAN, as an entry point in the group `gan_core.variants` names it.

    Attributes:
        api: The plugin interface it was written for: `api=1`.
        options: Its options, a subclass of `Options` in which every field has a default.
        build: `build(options, data)` makes the game on the CPU, drawing initial weights from torch's global generator.
            It raises ValueError, before it makes any network, where the options and the data do not fit each other.
        paper: Where the method was published.
        needs_labels: Whether data without labels is refused.
    """

    api: int
    options: type[Options]
    build: Callable[[Any, "DataSpec"], "Game"]
    paper: str = ""
    needs_labels: bool = False
