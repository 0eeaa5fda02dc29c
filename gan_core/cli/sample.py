"""`gan_core sample`."""

from pathlib import Path
from typing import Annotated

import typer

from gan_core.errors import UserError
from gan_core.settings.resolve import options_of

_RATE = 12.0
"""Frames per second of an interpolation."""


def sample(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    *,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of images; by default 64, or each image of --from. With --interpolate the number of pairs; by "
            "default 8, or one of each class.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the latents.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="Sample only this class, by name or number (conditional variants).")
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which output, if the variant has several.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="folder:PATH", help="Translate each of these images once, keeping their names."),
    ] = None,
    interpolate: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=1000,
            metavar="N",
            help="Draw N images from one sample to another, along the arc between their latents (slerp): a row of a "
            "grid for each pair, or the frames of a GIF or MP4.",
        ),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(
            metavar="newest|best|KIMG",
            help="Which checkpoint: the newest; the best by the metric that the run keeps, or by FID or KID; or that "
            "at KIMG thousand images.",
        ),
    ] = "newest",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A sampling option; `gan_core show NAME` lists them."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.png for a grid, FILE.npz for arrays (arr_0, arr_1), or a folder of images; with --interpolate "
            "FILE.png, FILE.gif or FILE.mp4 (pip install gan-core[video])."
        ),
    ],
) -> None:
    """Sample images from a run's averaged generator (EMA). They depend only on the run, the seed and --from."""
    kind = out.suffix.lower()
    kinds = (".png", ".gif", ".mp4") if interpolate else ("", ".png", ".npz")
    allowed = "FILE.png, FILE.gif or FILE.mp4" if interpolate else "FILE.png, FILE.npz, or a new folder"
    if kind not in kinds:
        films = "" if interpolate or kind not in (".gif", ".mp4") else " (films need --interpolate)"
        raise UserError(f"out: {str(out)!r} is not allowed{films}. Use {allowed}")
    if out.is_dir() or (out.exists() and not kind):
        raise UserError(f"out: {str(out)!r} already exists. Use {allowed}")
    if interpolate and source is not None:
        raise UserError("from: not allowed with --interpolate: images that are given are not interpolated")
    options = options_of(assignments or ())
    from gan_core.app.load import load_run
    from gan_core.app.sampling import open_samples
    from gan_core.console import PlainConsole
    from gan_core.precision import arithmetic
    from gan_core.runs.selection import at_kimg
    from gan_core.sampling.files import class_names, drawn_grid, save_folder, save_image, save_npz
    from gan_core.sampling.films import check_film, save_film
    from gan_core.sampling.interpolate import MOST_PAIRS, interpolation_frames, interpolation_grid

    if kind in (".gif", ".mp4"):
        check_film(out)
    loaded = load_run(run, which=at_kimg(checkpoint))
    samples = open_samples(loaded, seed=seed, label=label, output=output, source=source, options=options)
    sampler, number, about = samples.sampler, samples.label, samples.about
    total = count or len(samples.names) or min(64, sampler.given or 64)
    if source is not None and total > len(samples.names):
        raise UserError(
            f"count: {total} is not allowed, because {source!r} has {len(samples.names)} images, each translated once. "
            "Omit --count"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with arithmetic(**loaded.settings.arithmetic):
            if interpolate:
                classes = sampler.classes if label is None else 0
                total = count or (classes if 0 < classes <= MOST_PAIRS else 8)
                if kind == ".png":
                    save_image(interpolation_grid(sampler, total, interpolate, number), out, about)
                else:
                    save_film(list(interpolation_frames(sampler, total, interpolate, number)), out, _RATE)
            elif kind == ".png":
                save_image(drawn_grid(sampler, total, number), out, about)
            elif kind == ".npz":
                drawn, labels = sampler.draw(total, number), sampler.labels(total, number)
                save_npz(drawn, labels, out, class_names(sampler), about)
            else:
                save_folder(sampler.draw(total, number), out, samples.names, about)
    except OSError as error:
        raise UserError(f"out: {str(out)!r} cannot be written: {error}") from error
    what = f"{total} pairs, {interpolate} images each" if interpolate else f"{total} images"
    PlainConsole().print(f"{what}: {out}", soft_wrap=True)
