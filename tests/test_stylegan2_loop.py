"""StyleGAN2's lazy penalties share the moments of the main phases: a run equals a loop that is written out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Adam

from gan_core.app.setup import make_batch_source, read_tables
from gan_core.row_randomness import LayerRandomness, layers_draw
from gan_core.training.shared_fakes import MicroBatch
from tests.conftest import difference, make_job, saved

STEPS, BATCH, R1, PATH, LR = 40, 8, 0.3, 2.0, 0.002
OPTIONS = ("width=4", "latent=4", "mapping_layers=1", f"r1={R1}", "group=4")


def test_40_steps_are_those_of_a_loop_by_hand(tmp_path: Path, train: Callable[..., str]) -> None:
    flags = {"variant": "stylegan2", "batch": BATCH, "steps": STEPS, "precision": "fp64", "out": tmp_path / "run"}
    assert train(*OPTIONS, **flags) == "finished"
    trained = saved(tmp_path / "run")

    job, accelerator = make_job(*OPTIONS, **flags), Accelerator(cpu=True)
    game = job.build()
    source = make_batch_source(job, accelerator, game, read_tables(job, accelerator), STEPS * BATCH)
    G, D = (game.networks[name].double() for name in ("generator", "discriminator"))
    # Appendix B: c = k / (k + 1) for a penalty in every k-th step.
    G_optimizer = Adam(G.parameters(), lr=LR * 4 / 5, betas=(0.0, 0.99 ** (4 / 5)))
    D_optimizer = Adam(D.parameters(), lr=LR * 16 / 17, betas=(0.0, 0.99 ** (16 / 17)))
    mean_length = torch.zeros(())
    played = []

    def step(optimizer: Adam, loss: Tensor) -> None:
        optimizer.zero_grad()
        parameters = optimizer.param_groups[0]["params"]
        (loss + sum(0 * parameter.sum() for parameter in parameters)).backward()
        optimizer.step()

    def fakes(batch: MicroBatch) -> Tensor:
        with layers_draw(LayerRandomness(batch.made.draws)):
            return G(**batch.inputs)

    for number in range(STEPS):
        for phase, (batch,) in source.step(number * BATCH):
            played.append(phase.name)
            if phase.name == "generator":
                step(G_optimizer, F.softplus(-D(fakes(batch))).mean())
            elif phase.name == "discriminator":
                on_real, on_fake = D(batch.images), D(fakes(batch).detach())
                step(D_optimizer, F.softplus(-on_real).mean() + F.softplus(on_fake).mean())
            elif phase.name == "r1":
                images = batch.images.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(D(images).sum(), images, create_graph=True)
                step(D_optimizer, 16 * R1 / 2 * gradient.pow(2).sum() / BATCH)
            else:
                with layers_draw(LayerRandomness(batch.draws)):
                    ws = G.styles(**batch.inputs)
                    images = G.drawn(ws)
                y = batch.random.normal(*images.shape[1:]) / 8
                (gradient,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
                lengths = gradient.pow(2).sum(2).mean(1).sqrt()
                a = 0.99 * mean_length.double() + 0.01 * lengths.mean()
                step(G_optimizer, 4 * PATH * (lengths - a).pow(2).mean())
                mean_length = mean_length + 0.01 * (lengths.mean().detach().float() - mean_length)

    assert played[:5] == ["generator", "path", "discriminator", "r1", "generator"]
    assert (played.count("path"), played.count("r1")) == (10, 3)
    found = {
        f"{name}/{key}": value
        for name, net in (("generator", G), ("discriminator", D))
        for key, value in net.named_parameters()
    }
    assert found.keys() <= trained.keys()
    assert (
        difference({key: trained[key] for key in found}, {key: value.detach() for key, value in found.items()}) < 1e-9
    )
    assert float(trained["state-path/mean"]) == pytest.approx(float(mean_length), rel=1e-6)
