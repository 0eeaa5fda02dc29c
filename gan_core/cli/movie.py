"""`gan_core movie`."""

from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError


def movie(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="FILE.gif, or FILE.mp4 (pip install gan-core[video]); without it RUN/movie.gif."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, max=60, metavar="FRAMES", help="Frames per second.")] = 4.0,
) -> None:
    """Make a film of how a run's samples have changed: its grids, which are drawn from fixed latents."""
    from gan_core.console import PlainConsole, warn
    from gan_core.runs.folder import RunFolder
    from gan_core.runs.grids import grid_files, read_picture
    from gan_core.sampling.films import check_film, save_film

    folder, path = RunFolder(run), out or run / "movie.gif"
    check_film(path)
    folder.read_config()
    pictures = [picture for _, file in grid_files(folder.samples) if (picture := read_picture(file, warn)) is not None]
    if not pictures:
        raise UserError(f"{str(folder.samples)!r} has no grids of samples")
    frames = [picture for picture in pictures if picture.size == pictures[-1].size]
    if len(frames) < len(pictures):
        warn(f"{len(pictures) - len(frames)} grids of another size than the last one are left out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_film(frames, path, rate)
    except OSError as error:
        raise UserError(f"out: {str(path)!r} cannot be written: {error}") from error
    PlainConsole().print(f"{len(frames)} frames: {path}", soft_wrap=True)
