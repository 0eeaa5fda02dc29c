"""`gan_core check`."""

from typing import Annotated

import typer


def check(name: Annotated[str, typer.Argument(help="A variant, as shown by `gan_core list`.")]) -> None:
    """Run the conformance checks on a variant and print one line per property. Takes about 30 seconds."""
    from gan_core.plugins.load import load_variant
    from gan_core.testing.kit import checks_of

    load_variant(name)
    failures = 0
    for one in checks_of(name):
        try:
            one()
        except Exception as error:  # Errors of the plugin itself are also reported as failures.
            failures += 1
            reason = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
            print(f"FAIL  {one.name}: {one.promise}\n      {reason}", flush=True)
        else:
            print(f"ok    {one.promise}", flush=True)
    if failures:
        print(f"{failures} properties do not hold.")
        raise typer.Exit(1)
