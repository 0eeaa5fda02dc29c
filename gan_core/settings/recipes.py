"""Recipes: files with all settings of a run that come with gan_core.

The comment at the beginning of a recipe is the only place that says what it is, how long it takes and what it reaches:

    # DCGAN on scikit-learn's digits.
    # Takes: 1 minute on two cores
    # Reaches: FID 3.6 ± 0.1 (4.0 ± 0.2 x floor)
"""

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from gan_core.documents import read_regular
from gan_core.errors import UserError, did_you_mean

_MOST = 100_000
_FIELD = re.compile(r"(Takes|Reaches): (.+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One recipe.

    Attributes:
        name: Its file's name without ".yaml".
        path: Its file.
        about: What it is.
        takes: How long it takes, and on what; "" where it does not say so.
        reaches: What it reaches, "not measured" or "".
    """

    name: str
    path: Path
    about: str
    takes: str
    reaches: str


def recipes_folder() -> Path:
    """Returns the folder of the recipes: in the package if installed from a wheel, else in the checkout."""
    package = Path(__file__).parent.parent
    packaged = package / "recipes"
    return packaged if packaged.is_dir() else package.parent / "configs"


def all_recipes() -> list[Recipe]:
    """Returns the recipes by name."""
    return [_read(path) for path in sorted(recipes_folder().glob("*.yaml"), key=lambda path: path.stem)]


def recipe_named(name: str) -> Recipe:
    """Returns the recipe of this name.

    Raises:
        UserError: There is none; the message gives the nearest name.
    """
    found = {recipe.name: recipe for recipe in all_recipes()}
    plain = name.removesuffix(".yaml")
    if plain not in found:
        raise UserError(f"{name!r} is no recipe.{did_you_mean(plain, found)} `gan_core recipes` lists all")
    return found[plain]


def config_file(given: Path) -> Path:
    """Returns the file that `--config` names: a file of that name if there is one, else the recipe of that name.

    Raises:
        UserError: There is neither.
    """
    if given.exists() or len(given.parts) != 1:
        return given
    try:
        return recipe_named(given.name).path
    except UserError as error:
        raise UserError(f"--config {str(given)!r}: there is no such file, and {error}") from None


def _read(path: Path) -> Recipe:
    lines = read_regular(path, _MOST).decode().splitlines()
    comment = [line.removeprefix("#").strip() for line in takewhile(lambda line: line.startswith("#"), lines)]
    fields = {match[1]: match[2] for line in comment if (match := _FIELD.fullmatch(line))}
    about = " ".join(line for line in comment if not _FIELD.fullmatch(line))
    takes, reaches = fields.get("Takes", ""), fields.get("Reaches", "")
    return Recipe(name=path.stem, path=path, about=about, takes=takes, reaches=reaches)
