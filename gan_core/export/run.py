"""Exports a run's averaged generator to a folder, and uploads such a folder."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from gan_core.app.load import load_run
from gan_core.app.sampling import open_samples
from gan_core.console import say, warn
from gan_core.errors import UserError, did_you_mean
from gan_core.evaluation.record import read_evaluation
from gan_core.export.card import card
from gan_core.export.exportable import exportable
from gan_core.export.formats import FORMATS, INPUTS
from gan_core.precision import arithmetic
from gan_core.sampling.files import sample_grid, save_image


def export_run(
    run: Path, kind: str, out: Path, *, checkpoint: str | int, output: str | None, options: Mapping[str, object]
) -> list[str]:
    """Writes a generator, its example, a grid of samples and the card to a new folder; returns the files' names.

    Nothing is left there unless the written file draws the images of the run to 1e-5.

    Args:
        run: The run's folder.
        kind: The format, one of `FORMATS`.
        out: The folder.
        checkpoint: As for `load_run`.
        output: The output's name; None is the first one.
        options: Sampling options, not yet checked.

    Raises:
        UserError: One of them is not allowed, or the generator cannot be exported in this format.
    """
    how = FORMATS.get(kind)
    if how is None:
        raise UserError(f"format: {kind!r} is not allowed.{did_you_mean(kind, FORMATS)} Allowed: {', '.join(FORMATS)}")
    how.check()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out: {str(out)!r} already exists. Use a new folder")
    loaded = load_run(run, torch.device("cpu"), checkpoint)
    with arithmetic(tf32=False, deterministic=False):
        exported = exportable(loaded, output, options)
        new = out.with_name(f"{out.name}.incomplete")
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            exported.check(how.write(exported, new))
            save_file({name: rows.contiguous() for name, rows in exported.inputs.items()}, new / INPUTS)
            try:
                samples = open_samples(loaded, seed=0, label=None, output=output, source=None, options=options)
                save_image(sample_grid(samples.sampler), new / "grid.png")
            except UserError as error:  # The images that samples are made from are somewhere else.
                warn(f"no grid.png was written: {error}")
            try:
                evaluation = read_evaluation(loaded.folder)
            except UserError as error:
                say(str(error))
                evaluation = None
            (new / "README.md").write_text(card(loaded, exported, how, evaluation), encoding="utf-8")
            (new / "config.json").write_text(json.dumps(_config(loaded.settings.variant, exported.inputs), indent=2))
            if out.exists():
                out.rmdir()
            new.rename(out)
        except OSError as error:
            raise UserError(f"out: {str(out)!r} cannot be written: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return sorted(path.name for path in out.iterdir())


def _config(variant: str, inputs: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """Returns what a program needs to know of the inputs; the Hub counts downloads of this file."""
    described = {
        name: {"dtype": str(rows.dtype).removeprefix("torch."), "shape": list(rows.shape[1:])}
        for name, rows in inputs.items()
    }
    return {"model_type": f"gan_core-{variant}", "inputs": described}


def push(folder: Path, repository: str) -> str:
    """Uploads a folder to a repository of the Hugging Face Hub, which is made if there is none; returns its address.

    Raises:
        UserError: There is no access, the name is not allowed, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        made = api.create_repo(repository, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=repository, commit_message="Export of a run of gan_core")
    except Exception as error:  # Versions of huggingface_hub use different HTTP libraries with errors of their own.
        raise UserError(
            f"push: {repository!r}: {error}\nThe export is in {str(folder)!r}. Log in with `hf auth login`, or set "
            "HF_TOKEN, and upload it with: hf upload"
        ) from error
    return str(made)
