"""A setting is written once, in its model; the command has its flag, and `--help` its docstring in its section."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import BaseModel, ConfigDict, Field
from typer.testing import CliRunner

from gan_core.cli.app import app
from gan_core.cli.flags import SectionedCommand, with_flags
from gan_core.settings.evaluation import EvaluationSettings
from gan_core.settings.flag import GROUPS, Flag
from gan_core.settings.settings import Settings

MODELS = {"train": Settings, "evaluate": EvaluationSettings}
OWN = {
    "train": {"--config", "--set", "--allow-change", "--dry-run", "--print-config", "--help"},
    "evaluate": {"--set", "--json", "--help"},
}
"""The flags that no field has."""

COMMANDS = pytest.mark.parametrize("name", ["train", "evaluate"])


def text_of(app: typer.Typer, *words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], terminal_width=4000, max_content_width=4000)
    assert done.exit_code == 0, done.output
    return done.output


def sections(text: str) -> dict[str, dict[str, str]]:
    """Returns the flags of each section of a `--help`, each with what is written beside it."""
    found: dict[str, dict[str, str]] = {}
    flags: dict[str, str] = {}  # What stands before the first section is not looked at.
    flag = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            flags = found.setdefault(line.removesuffix(":"), {})
        elif line.strip().startswith("--"):
            flag, *words = line.split()
            assert flag not in flags
            flags[flag] = " ".join(words)
        elif line.startswith("  ") and flag in flags:  # A wide flag has its text on the next line.
            flags[flag] += " " + line.strip()
    return found


@COMMANDS
def test_each_setting_has_one_flag_in_its_section_and_no_flag_is_written_elsewhere(name: str) -> None:
    found, model = sections(text_of(app, name)), MODELS[name]
    expected = {group.capitalize(): {} for group in GROUPS}
    for key, field in model.model_fields.items():
        group = next(one.group for one in field.metadata if isinstance(one, Flag))
        expected[group.capitalize()][f"--{key.replace('_', '-')}"] = " ".join((field.description or "").split())
    expected = {title: flags for title, flags in expected.items() if flags}
    assert set(found.pop("Options")) == OWN[name]
    found.pop("Arguments", None)
    assert [(title, list(flags)) for title, flags in found.items()] == [(t, list(f)) for t, f in expected.items()]
    for title, flags in expected.items():
        for flag, description in flags.items():
            assert description, f"{flag} has no docstring"
            assert description in found[title][flag]


@COMMANDS
def test_a_model_reads_group_by_group(name: str) -> None:
    fields = MODELS[name].model_fields.values()
    groups = [GROUPS.index(one.group) for field in fields for one in field.metadata if isinstance(one, Flag)]
    assert groups == sorted(groups)


@COMMANDS
def test_each_default_is_shown(name: str) -> None:
    flags = {flag: text for section in sections(text_of(app, name)).values() for flag, text in section.items()}
    for key, field in MODELS[name].model_fields.items():
        if not field.is_required() and field.default is not None and field.default is not False:
            assert f"[default: {field.default}" in flags[f"--{key.replace('_', '-')}"]


class Cooking(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dish: Annotated[str, Flag("data", "NAME")]
    """What is cooked."""
    heat: Annotated[Literal["low", "high"], Flag("optimisation")] = "low"
    """How hot [red]it[/red] is."""
    plates: Annotated[Literal[1, 2] | None, Flag("output")] = None
    """How many plates."""
    minutes: Annotated[float, Flag("length")] = Field(3.0, gt=0)
    """How long."""
    people: Annotated[int, Flag("length")] = Field(2, ge=1, le=9)
    """For how many."""
    recipe_file: Annotated[Path | None, Flag("output")] = None
    """Where the recipe is."""
    with_salt: Annotated[bool, Flag("output")] = False
    """Add salt."""


def kitchen() -> tuple[typer.Typer, list[tuple[dict[str, object], str, bool]]]:
    """Returns an app with one command made from the model above, and the list of what it is called with."""
    calls: list[tuple[dict[str, object], str, bool]] = []
    kitchen = typer.Typer(rich_markup_mode=None, add_completion=False)

    @kitchen.command(cls=SectionedCommand)
    @with_flags(Cooking)
    def cook(
        given: dict[str, object],
        cook: Annotated[str, typer.Argument(help="Who cooks.")],
        *,
        quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing.")] = False,
    ) -> None:
        """Cook."""
        calls.append((given, cook, quiet))

    return kitchen, calls


def test_a_new_field_has_its_flag() -> None:
    help_ = text_of(kitchen()[0])
    assert list(sections(help_)) == ["Arguments", "Data", "Optimisation", "Output", "Length", "Options"]
    lines = [" ".join(line.split()) for line in help_.splitlines()]
    for line in (
        "--dish NAME What is cooked.",
        "--heat low|high How hot [red]it[/red] is. [default: low]",
        "--plates 1|2 How many plates.",
        "--minutes FLOAT How long. [default: 3.0; > 0]",
        "--people INT For how many. [default: 2; >= 1, <= 9]",
        "--recipe-file PATH Where the recipe is.",
        "--with-salt / --no-with-salt Add salt.",
        "--quiet Say nothing.",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], {}),
        (["--people", "4", "--minutes", "1e1", "--plates", "2"], {"people": 4, "minutes": 10.0, "plates": 2}),
        (["--dish", "3", "--recipe-file", "4"], {"dish": "3", "recipe_file": "4"}),
        (["--heat", "hihg", "--people", "few", "--minutes", ""], {"heat": "hihg", "people": "few", "minutes": ""}),
        (["--people", "010"], {"people": 10}),
        (["--with-salt"], {"with_salt": True}),
        (["--no-with-salt"], {"with_salt": False}),
    ],
)
def test_a_command_is_called_with_the_flags_that_were_given(words: list[str], given: dict[str, object]) -> None:
    app, calls = kitchen()
    done = CliRunner().invoke(app, ["Ada", *words, "--quiet"])
    assert done.exit_code == 0, done.output
    assert calls == [(given, "Ada", True)]
    assert all(type(calls[0][0][key]) is type(value) for key, value in given.items())


def test_a_field_without_a_section_is_refused_by_name() -> None:
    class Bare(BaseModel):
        dish: str = "soup"

    with pytest.raises(AssertionError, match=r"Bare\.dish has no Flag"):
        with_flags(Bare)(lambda given: None)
