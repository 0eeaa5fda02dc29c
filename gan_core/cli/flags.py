"""Flags from the fields of a model, so that a setting is written once, and `--help` in sections."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from inspect import Parameter, Signature, signature
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from typer.core import TyperCommand

from gan_core.errors import UserError, did_you_mean
from gan_core.plugins.options import OptionRow, option_rows
from gan_core.settings.flag import flag_of

Command = Callable[..., None]


def with_flags(model: type[BaseModel]) -> Callable[[Command], Command]:
    """Gives a command a flag for each field of a model. Each field has a `Flag` in its annotation.

    The command's first parameter becomes the mapping of the flags that were given, by field. A flag of a number is
    read as one if possible. Nothing else is checked here: the model checks all values, so errors look the same.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def run(**arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in model.model_fields}
            given = {name: value for name, value in values.items() if value is not None}
            command({name: _read(given[name], model.model_fields[name].annotation) for name in given}, **arguments)

        _, *own = signature(command).parameters.values()
        parameters = sorted([*_parameters(model), *own], key=lambda parameter: parameter.kind)
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


class SectionedCommand(TyperCommand):
    """A command whose `--help` has a section for each group of flags, in the order of its parameters."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line. `--KEY=VALUE` that is no flag is read as `--set KEY=VALUE`.

        Raises:
            UserError: A flag is unknown. The message gives the nearest one, and says that `--set` sets options.
        """
        words = list(args)
        try:
            return super().parse_args(ctx, self._with_assignments(ctx, args))
        except Exception as error:
            flag = getattr(error, "option_name", "")
            if type(error).__name__ != "NoSuchOption" or not flag.startswith("--"):
                raise
            raise UserError(self._unknown(ctx, flag, words)) from None

    def _with_assignments(self, ctx: Any, words: list[str]) -> list[str]:
        """Returns the words with `--set` where an option is named as if it had a flag of its own.

        Sweeps of Weights & Biases write --lr=0.001, --lr_schedule=linear and --mirror=True.
        """
        takes_value = {
            name: not getattr(parameter, "is_flag", True)
            for parameter in self.get_params(ctx)
            for name in parameter.opts
        }
        found: list[str] = []
        for word in words:
            name, equals, value = word.partition("=")
            flag = name.replace("_", "-")
            if not name.startswith("--") or not equals:
                found.append(word)
            elif takes_value.get(flag):
                found.append(f"{flag}={value}")
            else:
                found += ["--set", f"{name.removeprefix('--').replace('-', '_')}={value}"]
        return found

    def _unknown(self, ctx: Any, flag: str, words: list[str]) -> str:
        parameters = self.get_params(ctx)
        names = (name.removeprefix("--") for parameter in parameters for name in parameter.opts)
        near = did_you_mean(flag.removeprefix("--"), names).replace("'", "'--", 1)
        options = next(getattr(parameter, "help", "") for parameter in parameters if "--set" in parameter.opts)
        at = next(number for number, word in enumerate(words) if word.partition("=")[0] == flag)
        value = words[at].partition("=")[2] or next(iter(words[at + 1 : at + 2]), "")
        value = "VALUE" if not value or value.startswith("--") else value
        assignment = f"--set {flag.removeprefix('--').replace('-', '_')}={value}"
        return f"{flag}: no such flag.{near}\nWrite {assignment} if it is {options[0].lower()}{options[1:]}"

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the sections. The types are click's, which newer versions of typer contain and older ones import."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                title = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(parameter, "rich_help_panel", None) or title, []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _parameters(model: type[BaseModel]) -> Iterator[Parameter]:
    for row in option_rows(model):
        field = model.model_fields[row["name"]]
        flag = flag_of(model, row["name"])
        option = typer.Option(
            help=_help(row),
            metavar=flag.metavar or "|".join(_word(part) for part in _parts(field.annotation)),
            rich_help_panel=flag.group.capitalize(),
        )
        kind = bool if field.annotation is bool else str
        # None means not given; the default is the model's.
        yield Parameter(row["name"], Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])


def _help(row: OptionRow) -> str:
    """Returns a field's docstring, with its default and bounds: "Images in a batch. [default: 64; >= 1]"."""
    default = row["default"]
    shown = f"default: {default}" if isinstance(default, str | int | float) and default is not False else ""
    notes = "; ".join(filter(None, (shown, row["bounds"])))
    return f"{row['help']} [{notes}]" if notes else row["help"]


def _parts(annotation: Any) -> Iterator[Any]:
    """Yields the types that an annotation consists of, and the choices of a `Literal`; not None."""
    if get_origin(annotation) in (Union, UnionType, Literal):
        for part in get_args(annotation):
            yield from _parts(part)
    elif annotation is not NoneType:
        yield annotation


def _word(part: Any) -> str:
    return part.__name__.upper() if isinstance(part, type) else str(part)


def _read(value: str | bool, annotation: Any) -> object:
    """Returns a number where the field is one and the text can be read as one, else the value as it is."""
    if any(part in (int, float) or isinstance(part, int) for part in _parts(annotation)):
        for kind in (int, float):
            with suppress(ValueError):
                return kind(value)
    return value
