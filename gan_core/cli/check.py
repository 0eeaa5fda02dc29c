"""`gan_core check`."""

from typing import Annotated

import typer


def check(
    name: Annotated[str, typer.Argument(help="A variant, as shown by `gan_core list`.")],
    *,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Check with this option; `gan_core show NAME` lists them."),
    ] = None,
) -> None:
    """Run the conformance checks on a variant and print one line per property. Takes about 30 seconds."""
    from gan_core.console import PlainConsole
    from gan_core.settings.resolve import options_of
    from gan_core.testing.kit import checks_of
    from gan_core.testing.subject import find_subject

    options = options_of(assignments or ())
    find_subject(name, options)
    console = PlainConsole()
    failures = 0
    for one in checks_of(name, options):
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
