"""`gan_core export`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError
from gan_core.settings.resolve import options_of

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    *,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="safetensors|torchscript|onnx|torch-export",
            help="safetensors: weights, and the generator as a file of plain PyTorch; onnx needs gan-core[export].",
        ),
    ],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="A new folder; without it RUN/export-FORMAT.")] = None,
    checkpoint: Annotated[
        str, typer.Option(metavar="newest|best|KIMG", help="Which checkpoint, as in `gan_core sample`.")
    ] = "newest",
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which output, if the variant has several.")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A sampling option.")
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Also upload the folder to the Hugging Face Hub."),
    ] = None,
) -> None:
    """Write a run's averaged generator (EMA) as files that programs load without gan_core, with a model card.

    The files are loaded again before the command ends: they draw the images of the run to 1e-5.
    """
    if repository is not None and not _REPOSITORY.fullmatch(repository):
        raise UserError(f"push: {repository!r} is not allowed. Write OWNER/NAME")
    options = options_of(assignments or ())
    from gan_core.console import PlainConsole
    from gan_core.export.run import export_run, push
    from gan_core.runs.selection import at_kimg

    folder = out or run / f"export-{kind}"
    names = export_run(run, kind, folder, checkpoint=at_kimg(checkpoint), output=output, options=options)
    console = PlainConsole()
    console.print(f"{folder}: {', '.join(names)}", soft_wrap=True)
    if repository is not None:
        console.print(f"pushed to {push(folder, repository)}", soft_wrap=True)
