"""The files that an evaluation writes to a run's folder.

evaluation.json           the metrics and their protocol; the newest evaluation only
evaluation-in-training.json    the same of the newest evaluation while training, if there was one
evaluation-closest.png    the samples nearest to a training image, each above that image
metrics.jsonl             one more line: {"images_seen": 500000, "evaluation@10000/fid": 12.3, ...}

That line has all scalar metrics; their names contain the number of samples, and the output if it is not the game's
first one ("evaluation@120/a/kid"). Like any other line, it is dropped when the run is resumed from an earlier point
(`RunFolder.rewind_metrics`).
"""

import json
from pathlib import Path
from typing import Any

from gan_core.documents import read_json
from gan_core.errors import UserError
from gan_core.evaluation.evaluation import Evaluation
from gan_core.runs.atomic import write_atomically
from gan_core.runs.folder import RunFolder
from gan_core.sampling.files import save_grid


def record(evaluation: Evaluation, metadata: dict[str, Any], folder: RunFolder, *, output: str = "") -> dict[str, Any]:
    """Writes the evaluation to the run's folder and returns the contents of evaluation.json. Main process only.

    Args:
        evaluation: The result to write.
        metadata: Further entries of the file: "images_seen" and "seed".
        folder: The run's folder.
        output: The output's name if it is not the first one.

    Raises:
        UserError: The folder cannot be written to.
    """
    written = {**metadata, **evaluation.to_json()}
    line = {"images_seen": metadata["images_seen"], **as_terms(evaluation, output)}
    try:
        write_atomically(folder.evaluation, json.dumps(written, indent=2) + "\n")
        folder.append_metrics(line)
        if evaluation.closest is not None:
            save_grid(evaluation.closest, 2, folder.root / "evaluation-closest.png")
    except OSError as error:
        raise UserError(f"{str(folder.root)!r} cannot be written: {error}") from error
    return written


def read_evaluation(folder: RunFolder) -> dict[str, Any]:
    """Returns the contents of evaluation.json as `record` wrote them.

    Raises:
        UserError: The run has not been evaluated, or the file is damaged.
    """
    if not folder.evaluation.exists():
        raise UserError(f"{str(folder.root)!r} has not been evaluated. Run: gan_core evaluate {folder.root}")
    return _read(folder.evaluation)


def record_in_training(evaluation: Evaluation, images_seen: int, folder: RunFolder) -> None:
    """Writes an evaluation while training to evaluation-in-training.json. Main process only.

    evaluation.json stays that of the last `gan_core evaluate`, which draws more samples.
    """
    written = {"images_seen": images_seen, **evaluation.to_json()}
    write_atomically(folder.evaluation_in_training, json.dumps(written, indent=2) + "\n")


def read_evaluation_in_training(folder: RunFolder) -> dict[str, Any]:
    """Returns the newest evaluation while training, as `record_in_training` wrote it.

    Raises:
        UserError: There is none, or the file is damaged.
    """
    return _read(folder.evaluation_in_training)


def _read(file: Path) -> dict[str, Any]:
    try:
        written = read_json(file)
        return {**written, "protocol": dict(written["protocol"]), "metrics": dict(written["metrics"])}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{str(file)!r} is damaged ({error}). Evaluate the run again") from None


def as_terms(evaluation: Evaluation, output: str = "") -> dict[str, float]:
    """Returns the scalar metrics as terms of a log line: "evaluation@SAMPLES/NAME", or ".../OUTPUT/NAME"."""
    phase = f"evaluation@{evaluation.protocol['samples']}" + (f"/{output}" if output else "")
    measured = evaluation.fakes.measured.items()
    return {f"{phase}/{name}": metric.value for name, metric in measured if not isinstance(metric.value, list)}
