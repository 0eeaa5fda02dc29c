"""`gan_core check`."""

from collections.abc import Iterable
from typing import Annotated

import typer


def check(
    name: Annotated[str, typer.Argument(help="A variant, as shown by `gan_core list`, or a data set.")],
    *,
    dataset: Annotated[
        bool, typer.Option("--dataset", help="NAME is a data set, such as digits or folder:PATH.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Check with this option, such as width=8, or image_size=32 of a data set.",
        ),
    ] = None,
) -> None:
    """Run the conformance checks on a variant or data set, and print one line per property."""
    from gan_core.console import PlainConsole
    from gan_core.settings.resolve import options_of
    from gan_core.testing.dataset_kit import dataset_checks_of
    from gan_core.testing.dataset_subject import find_dataset
    from gan_core.testing.kit import NamedCheck, checks_of
    from gan_core.testing.subject import find_subject

    options = options_of(assignments or ())
    checks: Iterable[NamedCheck]
    if dataset:
        find_dataset(name, options).open()
        checks = dataset_checks_of(name, options)
    else:
        find_subject(name, options)
        checks = checks_of(name, options)
    console = PlainConsole()
    failures = 0
    for one in checks:
        with console.status(one.promise):  # Only on a terminal.
            try:
                one()
            except Exception as error:  # Errors of the plugin itself are also reported as failures.
                failures += 1
                reason = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                console.print(f"FAIL  {one.name}: {one.promise}\n      {reason}", soft_wrap=True)
            else:
                console.print(f"ok    {one.promise}", soft_wrap=True)
    if failures:
        console.print(f"{failures} properties do not hold.")
        raise typer.Exit(1)
