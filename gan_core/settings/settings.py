"""The settings of a training run: each one's type, bounds, default, meaning, and section in `train --help`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from gan_core.settings.flag import Flag


def _parts(value: object) -> object:
    """Returns the parts of a text such as "wandb,tensorboard"; other values as they are."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class Settings(BaseModel):
    """The settings of `gan_core train`. Each field has a flag, which its annotation, default and docstring define."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    variant: Annotated[str, Flag("data", "NAME")]
    """The GAN to train; `gan_core list` names those installed."""
    dataset: Annotated[str, Flag("data", "NAME")] = "digits"
    """A data set, such as mnist, folder:PATH, unpaired:PATH or pairs:PATH; `gan_core list --datasets` names all."""
    data_dir: Annotated[Path | None, Flag("data", "DIR")] = None
    """A folder that already holds the data set's files (a torchvision root); without it they are downloaded."""
    image_size: Annotated[int | None, Flag("data", "PIXELS")] = Field(None, ge=4, le=4096)
    """Resize images to this many pixels a side; without it they keep their size."""
    channels: Annotated[Literal[1, 3] | None, Flag("data")] = None
    """Convert images to grey (1) or RGB (3); without it they stay as they are."""
    mirror: Annotated[bool, Flag("data")] = False
    """Mirror half of the images from left to right, drawn anew in each epoch; all images of a row together."""
    skip_bad: Annotated[bool, Flag("data")] = False
    """Leave out files of a folder that are not readable images, name them, and count them in run.json."""
    background: Annotated[str, Flag("data", "COLOUR")] = "white"
    """The colour on which transparent images are laid: a name, such as gray, or #RRGGBB."""
    crop: Annotated[Literal["centre", "none"], Flag("data")] = "centre"
    """How images of other proportions become square: cropped at their centre, or squeezed (none)."""
    resident: Annotated[Literal["auto", "yes", "no"], Flag("data")] = "auto"
    """Keep all images in the memory of each process (yes), decode them each time they are shown (no), or the first up
    to 2 GiB (auto). The images are the same."""
    image_column: Annotated[str | None, Flag("data", "NAME")] = None
    """The column of a table, the kind of file in shards, or the array in a file that has the images."""
    label_column: Annotated[str | None, Flag("data", "NAME")] = None
    """The one that has the labels."""
    init: Annotated[str | None, Flag("data", "RUN[:CHECKPOINT]")] = None
    """Start from the networks and averages of another run, of the same shapes: of its newest checkpoint, or of the one
    named (best, or the images seen). A resumed run does not read it again."""

    kimg: Annotated[float | None, Flag("length")] = Field(None, gt=0, le=1e9)
    """Length in thousands of real images shown to the discriminator; 500 where no length is given."""
    epochs: Annotated[float | None, Flag("length")] = Field(None, gt=0, le=1e9)
    """Length in passes over the data set."""
    steps: Annotated[int | None, Flag("length")] = Field(None, gt=0, le=10**12)
    """Length in steps. One step has one update of every phase, or as many as the variant defines."""

    batch: Annotated[int, Flag("optimisation", "IMAGES")] = Field(64, ge=1, le=10**7)
    """Images in a batch, over all processes together."""
    accumulate: Annotated[int, Flag("optimisation")] = Field(1, ge=1, le=10**9)
    """Micro-batches in which each process computes its share of a batch, to save memory."""
    seed: Annotated[int, Flag("optimisation")] = Field(0, ge=0, lt=2**63)
    """Seed of every random number of the run."""
    precision: Annotated[Literal["fp32", "bf16", "fp16", "fp64"], Flag("optimisation")] = "fp32"
    """Arithmetic of the networks; bf16 and fp16 keep float32 weights. fp16 needs a GPU."""
    tf32: Annotated[bool, Flag("optimisation")] = False
    """Let GPUs compute float32 convolutions and matrix products in TF32: faster, with 10 bits of mantissa in place of
    23. Penalties and evaluation stay without."""
    deterministic: Annotated[bool, Flag("optimisation")] = False
    """On GPUs use only algorithms that give the same bits every time; slower. CPUs need no such setting."""
    fast_convolutions: Annotated[bool, Flag("optimisation")] = True
    """On CPUs compute convolutions of small maps by matrix products where the layers' shapes suit it; it changes their
    last digits."""
    compile: Annotated[bool, Flag("optimisation")] = False
    """Compile each phase with torch.compile, on NVIDIA GPUs with CUDA graphs. It takes minutes before the first step,
    changes last digits, and refuses phases that are not one graph, such as those with a gradient penalty."""
    batchnorm: Annotated[Literal["global", "local"], Flag("optimisation")] = "global"
    """Batch normalisation over the global batch, the same on any number of processes, or over each process's share."""
    clip_norm: Annotated[float | None, Flag("optimisation")] = Field(None, gt=0)
    """Clip the gradient of each update to this norm; without it gradients are not clipped."""
    on_nan: Annotated[Literal["stop", "skip"], Flag("optimisation")] = "stop"
    """Where a gradient is NaN or infinite: stop, or skip that update on all processes and count it."""
    nan_limit: Annotated[int, Flag("optimisation")] = Field(10, ge=1, le=10**9)
    """With `skip` or fp16: how many updates of a phase may be skipped in a row; one more stops the run."""
    lr_schedule: Annotated[Literal["constant", "linear", "cosine"], Flag("optimisation")] = "constant"
    """How the learning rates fall between lr_decay_from and the end of the run."""
    lr_decay_from: Annotated[float, Flag("optimisation", "FRACTION")] = Field(0.5, ge=0, lt=1)
    """Where the learning rates begin to fall, as a fraction of the run."""
    lr_final: Annotated[float, Flag("optimisation", "FRACTION")] = Field(0.0, ge=0, le=1)
    """The learning rates at the end, as a fraction of the first ones."""
    ema_kimg: Annotated[float, Flag("optimisation", "KIMG")] = Field(10.0, ge=0, le=1e9)
    """Half-life of the moving average of the generator that draws the samples, in thousands of images; 0: none."""
    ema_ramp_up: Annotated[float, Flag("optimisation", "FRACTION")] = Field(0.05, gt=0, le=1e9)
    """The half-life is at most this fraction of the images seen."""

    out: Annotated[Path | None, Flag("output", "DIR")] = None
    """The run's folder; without it runs/<variant>-<dataset>."""
    resume: Annotated[Literal["auto", "never", "must", "restart"], Flag("output")] = "auto"
    """auto: continue from the newest checkpoint of the run in the folder; never: refuse a folder with a run; must:
    refuse a folder without a checkpoint; restart: rename the folder of the run that is there, and start anew."""
    log_every: Annotated[float | None, Flag("output", "KIMG")] = Field(None, gt=0, le=1e9)
    """Log the terms every KIMG thousand images; without it 500 times in a run, at most once per thousand."""
    sample_every: Annotated[float | None, Flag("output", "KIMG")] = Field(None, gt=0, le=1e9)
    """Draw a grid of samples every KIMG thousand images; without it 20 times in a run, at most once per thousand."""
    checkpoint_every: Annotated[float | None, Flag("output", "KIMG")] = Field(None, gt=0, le=1e9)
    """Write a checkpoint every KIMG thousand images; without it 20 times in a run, at most once per thousand. Every
    run ends with one."""
    keep_checkpoints: Annotated[int, Flag("output")] = Field(3, ge=1, le=10**9)
    """How many checkpoints are kept, the newest ones."""
    keep_every: Annotated[float | None, Flag("output", "KIMG")] = Field(None, gt=0, le=1e9)
    """Also keep for good the first checkpoint at or after every multiple of KIMG thousand images."""
    keep_lowest: Annotated[str | None, Flag("output", "METRIC")] = None
    """Also keep the checkpoint where this metric of metrics.jsonl was lowest, such as evaluation@2000/fid."""
    keep_highest: Annotated[str | None, Flag("output", "METRIC")] = None
    """Also keep the checkpoint where this metric of metrics.jsonl was highest."""

    track: Annotated[
        tuple[Literal["wandb", "tensorboard"], ...] | None, BeforeValidator(_parts), Flag("tracking", "NAME[,NAME]")
    ] = None
    """Also log to Weights & Biases (wandb) or TensorBoard (tensorboard), or to both."""
    track_required: Annotated[bool, Flag("tracking")] = False
    """Do not train if a tracker cannot be started, such as for want of a login; without it a warning is printed."""
    track_project: Annotated[str | None, Flag("tracking", "NAME")] = None
    """Weights & Biases: the project; without it WANDB_PROJECT, or gan_core. Likewise below: what is not given is taken
    from the variable of Weights & Biases for it."""
    track_entity: Annotated[str | None, Flag("tracking", "NAME")] = None
    """Weights & Biases: the team or the user."""
    track_name: Annotated[str | None, Flag("tracking", "NAME")] = None
    """Weights & Biases: the run's name; without it and WANDB_NAME, that of the run's folder."""
    track_group: Annotated[str | None, Flag("tracking", "NAME")] = None
    """Weights & Biases: the group of runs."""
    track_job_type: Annotated[str | None, Flag("tracking", "NAME")] = None
    """Weights & Biases: the type of the run in its group, such as train."""
    track_tags: Annotated[tuple[str, ...] | None, BeforeValidator(_parts), Flag("tracking", "TAG[,TAG]")] = None
    """Weights & Biases: tags."""
    track_notes: Annotated[str | None, Flag("tracking", "TEXT")] = None
    """Weights & Biases: notes."""

    evaluate_every: Annotated[float | None, Flag("evaluation", "KIMG")] = Field(None, gt=0, le=1e9)
    """Evaluate every KIMG thousand images and at the end, each time with a checkpoint; without it never."""
    evaluate_samples: Annotated[int, Flag("evaluation")] = Field(2000, ge=64, le=10**9)
    """How many samples such an evaluation draws; `gan_core evaluate` draws 10,000."""
    evaluate_features: Annotated[str, Flag("evaluation", "NAME")] = "classifier"
    """The feature space of such an evaluation: classifier, inception, random, or one that a plugin offers."""

    threads: Annotated[int | None, Flag("machines")] = Field(None, ge=1, le=4096)
    """CPU threads of each process; without it the processes of a machine share its cores. Another number, also when a
    run is resumed, changes the last digits of sums."""
    workers: Annotated[int | None, Flag("machines")] = Field(None, ge=0, le=256)
    """Processes that decode images that are not kept in memory, for each process that trains; 0: it decodes them
    itself. Without it one less than its cores, from 1 to 8."""
    deadline: Annotated[float, Flag("machines", "SECONDS")] = Field(600.0, ge=1, le=86_400)
    """Seconds for which processes wait for each other; then they stop and name the one that is missing."""

    @field_validator("background")
    @classmethod
    def _is_colour(cls, name: str) -> str:
        from PIL import ImageColor  # Only where a colour is checked: commands that read no settings stay light.

        try:
            channels = len(ImageColor.getrgb(name))
        except ValueError:
            channels = 0
        if channels != 3:
            raise ValueError("a colour, such as gray or #RRGGBB")
        return name

    @property
    def arithmetic(self) -> dict[str, bool]:
        """The arguments of `gan_core.precision.arithmetic`: how whatever is computed with a run is computed."""
        return {key: getattr(self, key) for key in ("tf32", "deterministic", "fast_convolutions")}

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.out or Path("runs") / f"{_plain(self.variant)}-{_plain(self.dataset)}"


LENGTHS = ("kimg", "epochs", "steps")
DEFAULT_KIMG = 500.0
"""The length where none is given."""

FREE = {
    "data_dir",
    "skip_bad",
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
    "track_required",
    "track_project",
    "track_entity",
    "track_name",
    "track_group",
    "track_job_type",
    "track_tags",
    "track_notes",
    "threads",
    "resident",
    "workers",
    "deadline",
    "on_nan",
    "nan_limit",
}
"""Settings that may change on resume without `--allow-change`: they do not change what is computed. Only `threads` may
change the last digits of sums, and `on_nan` and `nan_limit` what follows a gradient that is not finite."""


def _plain(name: str) -> str:
    """Returns the last part of a name, for a folder: "folder:/data/cats" -> "cats"."""
    return name.rstrip("/").replace(":", "/").rpartition("/")[2] or "data"
