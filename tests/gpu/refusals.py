"""What must be refused, with a message that names the way out."""

import os
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from gan_core.app.training import start
from gan_core.errors import UserError
from gan_core.precision import arithmetic
from gan_core.testing.ports import free_ports, rank_environments
from tests.gpu.lab import Lab, Result
from tests.runs import make_job


def refusals(lab: Lab) -> Result:
    """fp16 on a CPU, layers without a deterministic algorithm, another cuBLAS workspace, more processes than GPUs."""
    return {
        "fp16 on a CPU": _refused_on(lab, "cpu", "needs a GPU", precision="fp16"),
        "no deterministic algorithm": _no_algorithm(lab),
        "another cuBLAS workspace": _another_workspace(lab),
        "more processes than GPUs": _more_processes_than_gpus(lab),
    }


def _refused_on(lab: Lab, device: str, why: str, **settings: object) -> str:
    with lab.on(device), pytest.raises(UserError, match=why) as refused:
        start(make_job(variant="dcgan", steps=1, out=lab.folder / "refused", **settings), (), Console(quiet=True))
    return str(refused.value)


def _no_algorithm(lab: Lab) -> str:
    pooled, indices = F.max_pool2d(torch.rand(1, 1, 4, 4, device=lab.device), 2, return_indices=True)
    no = "has no deterministic implementation"
    with pytest.raises(UserError, match=no) as refused, arithmetic(tf32=False, deterministic=True):
        F.max_unpool2d(pooled, indices, 2)
    return str(refused.value)


def _another_workspace(lab: Lab) -> str:
    with patch.dict(os.environ, CUBLAS_WORKSPACE_CONFIG=":0:0"):
        return _refused_on(lab, lab.device, "CUBLAS_WORKSPACE_CONFIG", deterministic=True)


def _more_processes_than_gpus(lab: Lab) -> str:
    if not lab.on_gpu:
        return "not tried: on CPUs any number is allowed"
    (port,) = free_ports(1)
    words = ["gan_core", "train", "--variant", "dcgan", "--steps", "1", "--out", str(lab.folder / "too-many")]
    failed, output = lab.launch(words, rank_environments(torch.cuda.device_count() + 1, port))
    assert failed, output
    assert "error: " in output, output
    assert "GPU" in output, output
    return output.partition("error: ")[2].strip()
