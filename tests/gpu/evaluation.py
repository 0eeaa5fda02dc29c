"""Evaluation on the GPU against the CPU: features of the same images, and all metrics of the same run."""

import math

import torch
from accelerate import Accelerator
from rich.console import Console

from gan_core.app.evaluating import evaluate_run
from gan_core.features.load import load_features
from gan_core.features.real_data import RealData
from gan_core.precision import without_tf32
from gan_core.settings.evaluation import EvaluationSettings
from tests.gpu.lab import Lab, Result, images
from tests.runs import make_job, metrics

_FEATURES, _METRICS = 1e-4, 0.05
"""Relative limits. Samples are rounded to 8 bits, so that some pixels differ by 1, and metrics more than features."""


def evaluation(lab: Lab) -> Result:
    """Features agree to 1e-4 of the largest, metrics to 5 %."""
    found: Result = {"features: largest relative difference": _features(lab)}
    assert found["features: largest relative difference"] <= (_FEATURES if lab.on_gpu else 0.0), found
    words = () if lab.short else ("width=32",)
    run = lab.train("run", *words, variant="dcgan", batch=32, steps=4 if lab.short else 200)
    request = EvaluationSettings(samples=64 if lab.short else 2048, features="random", small_fid=True)
    measured = []
    for device in dict.fromkeys((lab.device, "cpu")):
        with lab.on(device):
            evaluate_run(run, request, {}, Console(quiet=True))
        measured.append({key.rpartition("/")[2]: value for key, value in metrics(run)[-1].items()})
    for name in ("fid", "kid", "precision", "recall", "density", "coverage"):
        here, cpu = measured[0][name], measured[-1][name]
        found[name] = {"here": here, "CPU": cpu}
        # The others are shares of at most 297 images.
        close = math.isclose(here, cpu, rel_tol=_METRICS, abs_tol=0.0 if name in ("fid", "kid") else 0.01)
        assert close, found
    return found


def _features(lab: Lab) -> float:
    """Embeds real images in the untrained space on the device and on the CPU."""
    job = make_job(*images(lab), variant="dcgan")
    embedded = []
    for name in (lab.device, "cpu"):
        device = torch.device(name)
        with lab.on(name), without_tf32():
            data = RealData(job.dataset, device)
            space = load_features("random", {}).open(data, Accelerator(cpu=name == "cpu"), Console(quiet=True))
            pixels, _ = next(iter(data.train.batches([list(range(64 if lab.short else 1000))])))
            embedded.append(space(pixels.to(device)).features.cpu())
    here, cpu = embedded
    return float((here - cpu).abs().max() / cpu.abs().max())
