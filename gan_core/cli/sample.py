"""`gan_core sample`."""

from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError


def sample(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the latents.")] = 0,
    label: Annotated[int | None, typer.Option(help="Sample only this class (conditional variants).")] = None,
    out: Annotated[
        Path, typer.Option(help="FILE.png for a grid, FILE.npz for arrays (arr_0, arr_1), or a folder of PNGs.")
    ],
) -> None:
    """Sample images from a run's averaged generator (EMA). They depend only on the run and the seed."""
    kind = out.suffix.lower()
    if kind not in ("", ".png", ".npz"):
        raise UserError(f"out: {str(out)!r} is not allowed. Use FILE.png, FILE.npz, or a new folder")
    if out.is_dir() or (out.exists() and not kind):
        raise UserError(f"out: {str(out)!r} already exists. Use FILE.png, FILE.npz, or a new folder")
    from gan_core.app.load import load_run
    from gan_core.console import PlainConsole
    from gan_core.precision import arithmetic
    from gan_core.sampling.files import save_folder, save_grid, save_npz

    loaded = load_run(run, seed)
    sampler, settings = loaded.sampler, loaded.settings
    classes = sampler.game.classes
    if label is not None and not 0 <= label < classes:
        allowed = f"0 to {classes - 1}" if classes else "none (the generator of this run is not conditional)"
        raise UserError(f"label: {label} is not allowed. Allowed: {allowed}")
    blocks = sampler.draw(count, label)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with arithmetic(tf32=settings.tf32, deterministic=settings.deterministic):
            if kind == ".png":
                save_grid(sampler.draw_all(count, label), classes if label is None else 0, out)
            elif kind == ".npz":
                save_npz(blocks, sampler.labels(count, label), out)
            else:
                save_folder(blocks, out)
    except OSError as error:
        raise UserError(f"out: {str(out)!r} cannot be written: {error}") from error
    PlainConsole().print(f"{count} images: {out}", soft_wrap=True)
