"""The recipes for GPUs, shortened: their networks, batches and settings, on digits enlarged to their images' size."""

from tests.gpu.lab import ROOT, Lab, Result
from tests.runs import make_job, metrics

_FASTEST = "vanilla-mnist-gpu"


def recipes(lab: Lab) -> Result:
    """Every recipe trains and evaluates with finite terms. MNIST and CIFAR-10 are replaced: nothing is downloaded."""
    found: Result = {}
    for path in sorted((ROOT / "configs").glob("*-gpu.yaml")):
        if lab.short and path.stem != _FASTEST:
            continue
        spec = make_job(config=path).dataset.spec
        size = {"dataset": "digits", "image_size": spec.image_size, "channels": spec.channels}
        short = {"steps": 1, "batch": 4} if lab.short else {"steps": 8}
        lab.reset_peak_memory()
        # The classifier would be trained on the enlarged digits, once for each size.
        given = {"evaluate_features": "random", "evaluate_samples": 64, **size, **short}
        line = metrics(lab.train(path.stem, config=path, **given))[-1]
        assert any(key.startswith("evaluation@64/") for key in line), line
        found[path.stem] = {"step": line["step"], "peak memory": lab.peak_memory()}
    assert found
    return found
