"""Batch normalisation on two processes against torch's own on one, up to second derivatives."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gan_core.distributed.batchnorm import GlobalBatchNorm, synchronise
from tests import forked
from tests.conftest import ROOT
from tests.norms import CASES, NORMS, derivatives, far_from_zero, network, whole

LOCAL = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what two processes found."""
    folder = tmp_path_factory.mktemp("norms")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = forked.run(["tests.norms", str(folder)], folder=ROOT, environment=environment, processes=2, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(params=["gloo", "sockets"])
def found(saved: Path, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What two processes found, each with its part of the batch."""
    return [torch.load(saved / f"{request.param}-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_processes_equal_torch_s_on_one_up_to_the_second_derivative(
    found: list[dict[str, Any]], case: tuple[str, str, tuple[int, ...]]
) -> None:
    _, name, shape = case
    module = network(LOCAL[len(shape)], shape, **NORMS[name])
    expected = derivatives(module, whole(shape))
    assert float(expected["x"].abs().max()) > 1e-3
    parts = [each[str(case)][0] for each in found]
    for key, value in expected.items():
        by_image = key in ("out", "gradient", "x")
        both = torch.cat([part[key] for part in parts]) if by_image else sum(part[key] for part in parts)
        torch.testing.assert_close(both, value, rtol=1e-9, atol=1e-9, msg=lambda text, key=key: f"{key}: {text}")
    for _, state in (each[str(case)] for each in found):
        assert state.keys() == module.state_dict().keys()
        for key, value in module.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=1e-12, atol=1e-12)


def test_second_derivatives_equal_differences(found: list[dict[str, Any]]) -> None:
    assert all(each["numerical"] for each in found)


def test_a_layer_communicates_once_forward_and_once_backward(found: list[dict[str, Any]]) -> None:
    assert [each["collectives"] for each in found] == [(1, 1), (1, 1)]


def test_statistics_far_from_zero_have_the_digits_of_float32(found: list[dict[str, Any]]) -> None:
    x = far_from_zero().double()
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    for _, running_mean, running_var in (each["torch.float32"] for each in found):
        torch.testing.assert_close(running_mean.double(), mean, rtol=5e-7, atol=0)
        torch.testing.assert_close(running_var.double(), variance, rtol=5e-5, atol=0)
    result = torch.cat([each["torch.float32"][0] for each in found])
    # The rounding error of a mean of 10,000 deviations.
    torch.testing.assert_close(result.double(), nn.BatchNorm2d(3).double()(x), rtol=1e-5, atol=5e-3)


def test_bfloat16_is_summed_in_float32(found: list[dict[str, Any]]) -> None:
    x = (far_from_zero() - 1e4).bfloat16()
    result = torch.cat([each["torch.bfloat16"][0] for each in found])
    exact = nn.BatchNorm2d(3).double()(x.double())
    torch.testing.assert_close(result, exact.bfloat16(), rtol=2**-8, atol=1e-6)
    for _, running_mean, running_var in (each["torch.bfloat16"] for each in found):
        torch.testing.assert_close(running_mean.double(), x.double().mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(running_var.double(), x.double().var((0, 2, 3)), rtol=1e-5, atol=0)


@pytest.mark.usefixtures("single_process")
def test_one_value_per_channel_is_refused_as_torch_does() -> None:
    for norm in (nn.BatchNorm1d(3), GlobalBatchNorm(3)):
        with pytest.raises(ValueError, match=r"Expected more than 1 value per channel when training.*\[1, 3\]"):
            norm(torch.zeros(1, 3))
        assert torch.equal(norm.running_var, torch.ones(3))


def test_every_device_has_the_same_batch_normalisation() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3, device="meta"), nn.BatchNorm1d(3))
    synchronise({"n": network})
    assert [type(module) for module in network] == [GlobalBatchNorm, GlobalBatchNorm]
