"""The settings of an evaluation: each one's type, bounds, default, meaning, and section in `evaluate --help`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gan_core.settings.flag import Flag


class EvaluationSettings(BaseModel):
    """The settings of `gan_core evaluate`. Each field has a flag, as in `Settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dataset: Annotated[str | None, Flag("data", "NAME")] = None
    """The data set where it lies now, such as folder:PATH, if it was moved; it must be the same data."""
    data_dir: Annotated[Path | None, Flag("data", "DIR")] = None
    """The current folder of the data set; without it the folder that the run used."""

    samples: Annotated[int | None, Flag("evaluation")] = Field(None, ge=64)
    """Samples to draw; without it 10,000, or 26,000 for stacked-mnist, as in the literature."""
    seed: Annotated[int, Flag("evaluation")] = Field(0, ge=0, lt=2**63)
    """Seed of the latents."""
    output: Annotated[str | None, Flag("evaluation", "NAME")] = None
    """Which of the game's outputs to evaluate; without it the first one."""
    features: Annotated[str, Flag("evaluation", "NAME")] = "classifier"
    """The feature space: classifier, inception, random, or one that a plugin offers."""
    protocol: Annotated[Literal["standard", "fid50k"], Flag("evaluation")] = "standard"
    """standard: all metrics, against held-out images; fid50k: FID and KID of 50,000 samples against the training split,
    as in most papers, with --features inception."""
    small_fid: Annotated[bool, Flag("evaluation")] = False
    """Compute FID also on fewer than 2,000 samples."""
    gan_train: Annotated[bool, Flag("evaluation")] = False
    """Also train a classifier on samples (conditional variants)."""
