"""Random numbers, moving averages and batch normalisation, against independent references."""

import numpy as np
import pytest
import torch
from torch import nn

from gan_core.distributed.batchnorm import GlobalBatchNorm, synchronise
from gan_core.randomness import Streams
from gan_core.training.ema import Ema


def test_streams_are_numpy_s_philox_and_differ_in_every_argument() -> None:
    base = Streams(1).at("x", 2, 3).standard_normal(4).tolist()
    assert base == Streams(1).at("x", 2, 3).standard_normal(4).tolist()
    others = [Streams(2).at("x", 2, 3), Streams(1).at("y", 2, 3), Streams(1).at("x", 1, 3), Streams(1).at("x", 2, 4)]
    # All 64 bits of a seed must count; torch's own CPU generator uses only 32.
    others.append(Streams(1 + 2**32).at("x", 2, 3))
    for other in others:
        assert other.standard_normal(4).tolist() != base


def test_draws_of_one_stream_do_not_overlap() -> None:
    draws = np.concatenate([Streams(0).at("x", position).random(1000) for position in range(50)])
    assert len(np.unique(draws)) == 50_000
    assert draws.mean() == pytest.approx(0.5, abs=0.005)


def test_a_weight_moves_half_way_in_one_half_life() -> None:
    network = nn.Linear(1, 1)
    nn.init.zeros_(network.weight)
    ema = Ema(network, lambda seen: 100)
    nn.init.ones_(network.weight)
    for step in range(1, 11):
        ema.update(10, 10_000 + 10 * step)
    assert float(ema.network.weight) == pytest.approx(0.5, abs=1e-6)
    early = Ema(network, lambda seen: min(100, 0.05 * seen))
    nn.init.zeros_(network.weight)
    early.update(10, 200)  # The ramp limits the half-life to 10 images here: one step moves half way.
    assert float(early.network.weight) == pytest.approx(0.5, abs=1e-6)


def test_running_statistics_are_averaged_and_other_buffers_are_copied() -> None:
    network = nn.Sequential(nn.BatchNorm1d(1), nn.Module())
    network[1].register_buffer("note", torch.tensor(1.0))
    ema = Ema(network, lambda seen: 10)
    norm = network[0]
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    norm.running_mean.fill_(4.0)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.fill_(9)
    network[1].note = torch.tensor(3.0)  # Replaced, not changed in place.
    ema.update(10, 1000)
    state = ema.network.state_dict()
    assert float(state["0.running_mean"]) == pytest.approx(2.0)
    assert int(state["0.num_batches_tracked"]) == 9
    assert float(state["1.note"]) == 3.0
    assert not ema.network.training
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())


def test_tied_weights_are_averaged_once() -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    network[1].weight = network[0].weight
    nn.init.zeros_(network[0].weight)
    ema = Ema(network, lambda seen: 10)
    nn.init.ones_(network[0].weight)
    ema.update(10, 1000)
    assert float(ema.network.state_dict()["1.weight"]) == pytest.approx(0.5)


@pytest.mark.usefixtures("single_process")
@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3, momentum=None).double(), nn.BatchNorm2d(3, affine=False).double()],
)
def test_global_batch_norm_of_one_process_equals_torch_up_to_second_derivatives(norm: nn.BatchNorm2d) -> None:
    from copy import deepcopy

    twin = nn.Sequential(deepcopy(norm))
    synchronise({"n": twin})
    assert isinstance(twin.get_submodule("0"), GlobalBatchNorm)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        x = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=generator)
        results = []
        for module in (norm, twin):
            inputs = x.clone().requires_grad_()
            out = module(inputs)
            (gradient,) = torch.autograd.grad(out.pow(3).mean(), inputs, create_graph=True)
            (second,) = torch.autograd.grad(gradient.square().sum(), inputs)
            results.append((out, gradient, second))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for (name, ours), (_, theirs) in zip(twin.state_dict().items(), norm.state_dict().items(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12, msg=name)
    assert torch.equal(twin.eval()(x), norm.eval()(x)) or (twin(x) - norm(x)).abs().max() < 1e-12
