"""`gan_core data check` and `gan_core data pack`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from gan_core.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Check the images of a data set, and pack them into one file.")

Source = Annotated[str, typer.Argument(help="A folder of images, or a data set as `train --dataset` names it.")]
DataDir = Annotated[Path | None, typer.Option(help="A folder that already holds the data set's files.")]
Channels = Annotated[int | None, typer.Option(help="Convert images to grey (1) or RGB (3).")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out files that are not readable images.")]
Background = Annotated[str | None, typer.Option(help="The colour on which transparent images are laid; white.")]
ImageColumn = Annotated[str | None, typer.Option(help="The column, kind of file or array that has the images.")]
LabelColumn = Annotated[str | None, typer.Option(help="The one that has the labels.")]
Crop = Annotated[
    str | None,
    typer.Option(metavar="centre|none", help="Crop images that are not square at their centre, or squeeze them."),
]


@app.command("check")
def check(
    source: Source,
    *,
    data_dir: DataDir = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels a side that training would resize to.")] = None,
    channels: Channels = None,
    skip_bad: SkipBad = False,
    background: Background = None,
    crop: Crop = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
    out: Annotated[Path | None, typer.Option(help="FILE.png for a contact sheet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Read a whole data set once: sizes, classes, repeated images, files that fail, and what training would do.

    The exit code is 1 if training would refuse it with these flags.
    """
    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"out: {str(out)!r} is not allowed. Use FILE.png")
    options = _options(source, locals())
    from gan_core.app.data_check import check_data
    from gan_core.cli.tables.data import print_report
    from gan_core.console import PlainConsole
    from gan_core.sampling.files import save_image

    report, sheet = check_data(source, options, PlainConsole(stderr=True), sheet=out is not None)
    if out is not None and sheet is not None:
        save_image(sheet, out)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print_report(report, PlainConsole())
    if report["refused"]:
        raise typer.Exit(1)


@app.command("pack")
def pack(
    source: Source,
    *,
    out: Annotated[Path, typer.Option(help="FILE.zip, which `train --dataset zip:FILE.zip` reads.")],
    image_size: Annotated[int, typer.Option(help="Pixels a side of the packed images.")],
    split: Annotated[str, typer.Option(help="The split to pack.")] = "train",
    data_dir: DataDir = None,
    channels: Channels = None,
    skip_bad: SkipBad = False,
    background: Background = None,
    crop: Crop = None,
    image_column: ImageColumn = None,
    label_column: LabelColumn = None,
) -> None:
    """Pack the images of a data set into a zip in the layout of StyleGAN's dataset_tool.

    After an interruption the same command goes on where it was, and the file is the same byte for byte.
    """
    if out.suffix.lower() != ".zip":
        raise UserError(f"out: {str(out)!r} is not allowed. Use FILE.zip")
    options = _options(source, locals())
    from gan_core.app.data_check import named
    from gan_core.app.pack import pack_dataset
    from gan_core.console import PlainConsole

    console = PlainConsole()
    for line in pack_dataset(named(source), split, options, out, PlainConsole(stderr=True)):
        console.print(line, soft_wrap=True)


_SETTINGS = (
    *("data_dir", "image_size", "channels", "skip_bad", "background", "crop"),
    *("image_column", "label_column"),
)


def _options(source: str, given: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a data set that were given, checked.

    Raises:
        UserError: One is not allowed.
    """
    from gan_core.settings.resolve import validated
    from gan_core.settings.settings import Settings

    chosen = {key: given[key] for key in _SETTINGS if given[key] is not None}
    settings = validated(Settings, {"variant": "none", "dataset": source, **chosen})
    return {key: getattr(settings, key) for key in chosen}
