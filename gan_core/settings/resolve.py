"""Settings from a file and from flags, merged and checked, with errors that name the key and the fix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from gan_core.documents import parse_yaml, read_yaml
from gan_core.errors import UserError, did_you_mean
from gan_core.game.variant import Options
from gan_core.settings.flag import flag_of
from gan_core.settings.recipes import config_file
from gan_core.settings.settings import DEFAULT_KIMG, LENGTHS, Settings

RUN_METADATA = "run.json"
"""The file that marks the folder of a run; see gan_core.runs.folder."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """The settings of a run and the options of its variant.

    Attributes:
        settings: Its settings, checked.
        options: The variant's options as they were given: they are checked once the variant is loaded.
        origins: Where each setting that was given comes from: "flag", "file" or "variant".
    """

    settings: Settings
    options: Mapping[str, object]
    origins: Mapping[str, str] = field(default_factory=dict)

    def options_as(self, kind: type[Options]) -> Options:
        """Checks the variant's options and fills in their defaults.

        Raises:
            UserError: An option or its value is not allowed; all problems are listed.
        """
        return validated(kind, self.options, what=f"option of {self.settings.variant}")

    def with_defaults(self, defaults: Mapping[str, object], plugin: str) -> "Resolved":
        """Returns the settings with the variant's own defaults where nothing else was given.

        Args:
            defaults: `Variant.defaults`.
            plugin: The plugin's name in errors.

        Raises:
            UserError: A variant may not set one of them, or its value is not allowed.
        """
        allowed = [key for key in Settings.model_fields if flag_of(Settings, key).group in _OF_VARIANTS]
        for key in (key for key in defaults if key not in allowed):
            raise UserError(
                f"{plugin}: its defaults name {key!r}.{did_you_mean(key, allowed)} Allowed: {', '.join(allowed)}"
            )
        if len(lengths := [key for key in LENGTHS if key in defaults]) > 1:
            raise UserError(
                f"{plugin}: its defaults name {' and '.join(lengths)}. Allowed: one of {', '.join(LENGTHS)}"
            )
        taken = {*self.origins, *(LENGTHS if any(key in self.origins for key in LENGTHS) else ())}
        mine = {key: value for key, value in defaults.items() if key not in taken}
        given = {key: value for key, value in self.settings.model_dump().items() if key in self.origins}
        try:
            settings = _with_length(validated(Settings, given | mine))
        except UserError as error:
            raise UserError(f"{plugin}: its defaults are not allowed. {error}") from None
        return replace(self, settings=settings, origins={**self.origins, **dict.fromkeys(mine, "variant")})


_OF_VARIANTS = ("length", "optimisation")
"""The sections of settings of which a variant may set defaults."""


def resolve(
    flags: Mapping[str, object],
    assignments: Sequence[str] = (),
    config: Path | None = None,
    named: Mapping[str, object] | None = None,
) -> Resolved:
    """Merges settings: defaults < `--config` < flags and `--set`.

    Args:
        flags: The flags that were given on the command line, by setting.
        assignments: The texts after `--set`: "key=value" of a setting, else of one of the variant's options
            ("options.key=value" always names an option).
        config: A YAML file of settings, or the name of a recipe; see `config_file`.
        named: Settings and options as `assignments` names them, by key, as values.

    Raises:
        UserError: A key or a value is not allowed; all problems are listed.
    """
    given = dict(flags)
    options: dict[str, object] = {}
    for key, value in [*map(_assignment, assignments), *(named or {}).items()]:
        if key == "options":
            raise UserError("options: set each option by its name, as in --set options.width=3 (in Python: width=3)")
        if key in Settings.model_fields:
            given[key] = value
        else:
            options[key.removeprefix("options.")] = value
    config = config_file(config) if config else None
    values = _read(config) if config else {}
    if config and (config.parent / RUN_METADATA).exists():
        values["out"] = config.parent  # The file of a run, which may have been moved or copied since it was written.
    if any(key in given for key in LENGTHS):
        # A length on the command line replaces the file's, in whichever unit that was.
        values = {key: value for key, value in values.items() if key not in LENGTHS}
    if "variant" not in values | given:
        raise UserError("variant: missing. Name one with --variant; `python -m gan_core list` shows those installed")
    resolved = read_settings(values | given, f"--config {str(config)!r}")
    lengths = [key for key in LENGTHS if getattr(resolved.settings, key) is not None]
    if len(lengths) > 1:
        raise UserError(f"length: {' and '.join(lengths)} are given. Use one of --kimg, --epochs or --steps")
    origins = dict.fromkeys(values, "file") | dict.fromkeys(given, "flag")
    return Resolved(
        settings=_with_length(resolved.settings),
        options={**resolved.options, **options},
        origins={
            key: origin
            for key, origin in origins.items()
            if key in Settings.model_fields and (key not in LENGTHS or getattr(resolved.settings, key) is not None)
        },
    )


def _with_length(settings: Settings) -> Settings:
    """Returns the settings with the default length where none is given."""
    given = any(getattr(settings, key) is not None for key in LENGTHS)
    return settings if given else settings.model_copy(update={"kimg": DEFAULT_KIMG})


def read_settings(values: Mapping[str, object], source: str) -> Resolved:
    """Returns the content of a file: settings by key, and the variant's options under the key `options`.

    Args:
        values: The content of the file.
        source: The file's name in errors.

    Raises:
        UserError: A key or a value is not allowed; all problems are listed.
    """
    options = _mapping(values.get("options"), f"{source}: options")
    settings = {key: value for key, value in values.items() if key != "options"}
    return Resolved(settings=validated(Settings, settings, others=("options",)), options=options)


def validated(model: type[M], values: Mapping[str, object], what: str = "setting", others: Sequence[str] = ()) -> M:
    """Returns the model of these values.

    Args:
        model: The model.
        values: The values of its fields.
        what: A field's name in errors.
        others: Further keys that are allowed where the values come from, for the error of an unknown one.

    Raises:
        UserError: With one line for each problem: the key, the value, what is allowed, the nearest valid name.
    """
    values = dict(values)
    for key, value in values.items():
        field = model.model_fields.get(key)
        if isinstance(value, bool) and field is not None and "'yes', 'no'" in str(field.annotation):
            values[key] = "yes" if value else "no"  # YAML reads these words so.
        elif isinstance(value, bool) and field is not None and "bool" not in str(field.annotation):
            raise UserError(f"{key}: {value!r} is not allowed: it is no number and no name")  # pydantic reads it as 1.
        # As a path it would be the current folder. What an empty option means is the variant's own affair.
        if isinstance(value, str) and not value.strip() and not issubclass(model, Options):
            raise UserError(f"{key}: {value!r} is not allowed: it is empty. Give it a value, or leave it out")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, what, others, cast("dict[str, Any]", problem)) for problem in error.errors()]
        raise UserError("\n".join(lines)) from None


def _explain(model: type[BaseModel], what: str, others: Sequence[str], problem: dict[str, Any]) -> str:
    # pydantic names the members of a union after the field; the user knows only the field.
    key = str(problem["loc"][0]) if problem["loc"] else what
    if problem["type"] == "extra_forbidden":
        if issubclass(model, Options) and key in model.unsuitable:
            return f"{key}: not an {what}, because {model.unsuitable[key]}"
        names = [*model.model_fields, *others]
        # `--set` takes settings too.
        known = [*names, *Settings.model_fields] if issubclass(model, Options) else names
        return f"{key}: no such {what}.{did_you_mean(key, known)} Allowed: {', '.join(names) or 'none'}"
    value = problem["input"]
    text = str(problem["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    text = "a path" if problem["type"] == "path_type" else text.partition(", unable to parse")[0]
    choices = [choice.strip("' ") for choice in text.replace(" or ", ", ").split(", ")]
    hint = did_you_mean(str(value), choices) if problem["type"] == "literal_error" else ""
    return f"{key}: {value!r} is not allowed. It must be {text}.{hint}"


def options_of(assignments: Sequence[str]) -> dict[str, object]:
    """Returns the options that `--set key=value` names, not yet checked.

    Raises:
        UserError: One is not written so.
    """
    return dict(map(_assignment, assignments))


def _assignment(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"--set {text!r}: write it as key=value")
    try:
        return key.strip().replace("-", "_"), parse_yaml(value)
    except ValueError as error:
        raise UserError(f"--set {text!r}: the value is not readable as YAML ({error})") from None


def _read(config: Path) -> dict[str, object]:
    try:
        values = read_yaml(config)
    except UserError as error:
        raise UserError(f"--config {error}") from None
    return _mapping(values, f"--config {str(config)!r}")


def _mapping(values: object, source: str) -> dict[str, object]:
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{source}: expected `key: value` lines, got {type(values).__name__}")
    return values
