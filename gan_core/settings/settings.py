"""What a run can be told: every setting with its type, bounds and meaning."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """The settings of `gan_core train`, from defaults, then a YAML file, then flags and `--set key=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    variant: str
    """The GAN to train; `gan_core list` names those installed."""

    dataset: str = "digits"
    """digits, mnist, fashion-mnist, kmnist, usps, cifar10, stacked-mnist, or folder:PATH."""
    data_dir: Path | None = None
    """A folder that holds the data set's files already (a torchvision root); without it they are downloaded."""
    image_size: int | None = Field(None, ge=4, le=4096)
    """Resize images to this many pixels a side; without it they keep their size."""
    channels: Literal[1, 3] | None = None
    """Convert images to grey (1) or RGB (3); without it they stay as they are."""

    kimg: float | None = Field(None, gt=0)
    """Length in thousands of real images shown to the discriminator; 500 where no length is given."""
    epochs: float | None = Field(None, gt=0)
    """Length in passes over the data set."""
    steps: int | None = Field(None, gt=0)
    """Length in rounds of the game, each with one turn of every phase (or several, where the variant says so)."""
    batch: int = Field(64, ge=1)
    """Images in a batch, over all processes together."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches in which each process computes its share of a batch, to save memory."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of every random number of the run."""

    precision: Literal["fp32", "bf16", "fp16", "fp64"] = "fp32"
    """Arithmetic of the networks; bf16 and fp16 keep float32 weights. fp16 needs a GPU."""
    batchnorm: Literal["global", "local"] = "global"
    """Batch normalisation over the global batch, the same on any number of processes, or over each process's share."""
    clip_norm: float | None = Field(None, gt=0)
    """Clip the gradient of each turn to this norm."""
    on_nan: Literal["stop", "skip"] = "stop"
    """Where a gradient is NaN or infinite: stop, or skip that turn on all processes and count it."""
    nan_limit: int = Field(10, ge=1)
    """With skip: how many turns of a phase may be skipped in a row; one more, and the run stops after all."""
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the learning rates fall between lr_decay_from and the end of the run."""
    lr_decay_from: float = Field(0.5, ge=0, lt=1)
    """Where they begin to fall, as a fraction of the run."""
    lr_final: float = Field(0.0, ge=0, le=1)
    """Where they end, as a fraction of their first value."""
    ema_kimg: float = Field(10.0, ge=0)
    """Half-life of the moving average of the generator that draws the samples, in thousands of images; 0: none."""
    ema_ramp_up: float = Field(0.05, gt=0)
    """The half-life is at most this fraction of the images seen."""

    out: Path | None = None
    """The run's folder; without it runs/<variant>-<dataset>."""
    resume: Literal["auto", "never", "must"] = "auto"
    """Go on from the folder's newest checkpoint: where there is one, never, or else fail."""
    log_every: float | None = Field(None, gt=0)
    """Log the terms every so many thousand images; without it 500 times in a run, but not below 1."""
    sample_every: float | None = Field(None, gt=0)
    """Draw a grid of samples every so many thousand images; without it 20 times in a run, but not below 1."""
    evaluate_every: float | None = Field(None, gt=0)
    """Judge the generator every so many thousand images and at the end, with a checkpoint; without it never."""
    evaluate_samples: int = Field(2000, ge=64)
    """How many samples it is judged by then; `gan_core evaluate` takes 10,000."""
    evaluate_features: str = "classifier"
    """The feature space in which it is judged then: classifier, inception, random, or one that a plugin offers."""
    checkpoint_every: float | None = Field(None, gt=0)
    """Write a checkpoint every so many thousand images; likewise. Every run ends with one."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many checkpoints are kept, the newest ones."""
    keep_every: float | None = Field(None, gt=0)
    """Also keep the first checkpoint at or after every multiple of so many thousand images, for good."""
    keep_lowest: str | None = None
    """Also keep the checkpoint where this figure of metrics.jsonl, such as generator/adversarial, was lowest."""
    keep_highest: str | None = None
    """Also keep the checkpoint where this figure of metrics.jsonl was highest."""
    track: Literal["wandb", "tensorboard"] | None = None
    """Also log to Weights & Biases or TensorBoard."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of each process; without it the machine's cores are shared out."""
    deadline: float = Field(600.0, ge=1, le=86_400)
    """Seconds that processes wait for one another before they give up and say for which one."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.out or Path("runs") / f"{_plain(self.variant)}-{_plain(self.dataset)}"


LENGTHS = ("kimg", "epochs", "steps")
DEFAULT_KIMG = 500.0
"""The length where none is given."""

FREE = {
    "data_dir",
    "out",
    "resume",
    "log_every",
    "sample_every",
    "evaluate_every",
    "evaluate_samples",
    "evaluate_features",
    "checkpoint_every",
    "keep_checkpoints",
    "keep_every",
    "keep_lowest",
    "keep_highest",
    "track",
    "threads",
    "deadline",
    "on_nan",
    "nan_limit",
}
"""What a resumed run may change without a word: nothing here touches what is computed."""


def _plain(name: str) -> str:
    """Returns a name that is one folder: "folder:/data/cats" -> "cats"."""
    return name.rstrip("/").replace(":", "/").rpartition("/")[2] or "data"
