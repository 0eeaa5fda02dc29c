"""How the command line shows a setting, beyond its name, type, default and docstring."""

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel

Group = Literal["data", "length", "optimisation", "output", "tracking", "evaluation", "machines"]
"""A section of `--help`."""

GROUPS: tuple[Group, ...] = get_args(Group)
"""The sections, in the order in which `--help` prints them and models declare their fields."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Metadata of a setting's field: `steps: Annotated[int, Flag("length")]`.

    Attributes:
        group: The section of `--help` that lists the flag.
        metavar: The name of the flag's value; None takes the choices of a `Literal`, else the name of the type.
    """

    group: Group
    metavar: str | None = None


def flag_of(model: type[BaseModel], name: str) -> Flag:
    """Returns the `Flag` in the annotation of a setting's field."""
    flag = next((one for one in model.model_fields[name].metadata if isinstance(one, Flag)), None)
    assert flag is not None, f"{model.__name__}.{name} has no Flag in its annotation"
    return flag
