"""`gan_core sample`."""

from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError


def sample(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
    label: Annotated[int | None, typer.Option(help="Only this class (conditional variants).")] = None,
    out: Annotated[
        Path, typer.Option(help="FILE.png for a grid, FILE.npz for arrays (arr_0, arr_1), or a folder of PNGs.")
    ],
) -> None:
    """Draw images from a run's averaged generator; they depend only on the run and the seed."""
    if out.exists() and out.suffix not in (".png", ".npz"):
        raise UserError(f"out: {str(out)!r} exists already. Give a new folder, or a file that ends in .png or .npz")
    from gan_core.sampling.files import save_folder, save_grid, save_npz
    from gan_core.sampling.load import load_sampler

    sampler = load_sampler(run, seed)
    classes = sampler.game.classes
    if label is not None and not 0 <= label < classes:
        allowed = f"0 to {classes - 1}" if classes else "none, for this run's generator is not conditional"
        raise UserError(f"label: {label} is not allowed. Allowed: {allowed}")
    out.parent.mkdir(parents=True, exist_ok=True)
    blocks = sampler.draw(count, label)
    if out.suffix == ".png":
        save_grid(sampler.draw_all(count, label), classes if label is None else 0, out)
    elif out.suffix == ".npz":
        save_npz(blocks, sampler.labels(count, label), out)
    else:
        save_folder(blocks, out)
    print(f"{count} images: {out}")
