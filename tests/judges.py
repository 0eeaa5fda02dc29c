"""Evaluates on two processes, and saves what each of them keeps: python -m tests.judges FOLDER, started as ranks."""

import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.distributed import destroy_process_group

from gan_core.evaluation.embed import Embedded
from gan_core.evaluation.evaluate import evaluate
from tests.evaluating import QUIET, ImageSource, real_data, reference_of, training_images


def rows(embedded: Embedded) -> dict[str, int]:
    """Returns the number of rows of each tensor."""
    named = {name: getattr(embedded, name) for name in ("digests", "features", "predicted", "confidence")}
    return {name: len(tensor) for name, tensor in named.items() if isinstance(tensor, Tensor)}


def main(folder: Path) -> None:
    """Saves what this process has of the real images, and how many features in all live tensors."""
    data = real_data("digits")
    reference = reference_of(data, "random")
    accelerator = Accelerator(cpu=True)
    evaluation = evaluate(ImageSource(training_images(data)[0]), 300, reference, accelerator, QUIET)
    kept: dict[str, Any] = {name: rows(getattr(reference, name)) for name in ("train", "held_out", "test")}
    kept |= {"about": reference.about, "distances": reference.held_out_distances is not None}
    torch.save(kept | {"evaluated": evaluation is not None}, folder / f"{accelerator.process_index}.pt")
    accelerator.wait_for_everyone()
    destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
