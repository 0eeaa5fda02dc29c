"""The blocks of class-conditional GANs, against torch's own operators, closed forms and values computed by hand."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core import (
    ConditionalBatchNorm,
    DownBlock,
    ProjectionHead,
    Request,
    SelfAttention,
    UpBlock,
    conditional_latents,
    hinge_terms,
    initialise_orthogonally,
    normal_latents,
    normalise_spectrally,
    orthogonal_penalty,
    truncated_normal,
    uniform_latents,
)
from gan_core.precision import tf32_restored
from tests.conftest import make_job


def drawn(network: nn.Module, std: float = 0.5) -> nn.Module:
    """Draws all parameters in float64, so that none is 0 or 1."""
    torch.manual_seed(0)
    network.double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.2, std)
    return network


def test_the_hinge_loss_by_hand() -> None:
    terms = hinge_terms(torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.5]))
    # max(0, 1 - l) is 0, 0.5, 2; max(0, 1 + l) is 0, 1.5.
    expected = {"real": 2.5 / 3, "fake": 0.75, "D(real)": 0.5, "D(fake)": -0.75}
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected)


def test_uniform_latents() -> None:
    z = uniform_latents(3, 2.0, 5.0)(np.random.default_rng(0), Request(count=4000))["z"]
    assert (z.shape, z.dtype) == ((4000, 3), torch.float32)
    assert float(z.min()) == pytest.approx(2, abs=1e-2)
    assert float(z.max()) == pytest.approx(5, abs=1e-2)
    assert float(z.var()) == pytest.approx(9 / 12, rel=0.05)


def test_conditional_latents_have_the_requested_labels_or_all_equally_often() -> None:
    draw = conditional_latents(normal_latents(2), 4)
    inputs = draw(np.random.default_rng(0), Request(count=4000))
    assert inputs["labels"].dtype == torch.int64
    assert torch.bincount(inputs["labels"]).tolist() == pytest.approx([1000] * 4, rel=0.1)
    asked = draw(np.random.default_rng(0), Request(count=4000, given={"labels": torch.full((4000,), 3)}))
    assert asked["labels"].unique().tolist() == [3]
    assert torch.equal(asked["z"], inputs["z"])
    assert float(inputs["z"].std()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("threshold", [0.04, 0.5, 2.0, 20.0])
def test_truncated_normals_have_the_closed_form_s_variance(threshold: float) -> None:
    z = truncated_normal(np.random.default_rng(0), (100_000,), threshold)
    assert z.dtype == torch.float32
    assert float(z.abs().max()) <= threshold
    assert float(z.mean()) == pytest.approx(0, abs=0.01)
    standard = NormalDist()
    variance = 1 - 2 * threshold * standard.pdf(threshold) / (2 * standard.cdf(threshold) - 1)
    assert float(z.double().var()) == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("labels", [False, True])
def test_conditional_batch_normalisation_scales_and_shifts_torch_s(labels: bool) -> None:
    norm = drawn(ConditionalBatchNorm(3, 4, labels=labels))
    x = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    condition = torch.tensor([0, 3, 1, 3, 2]) if labels else torch.randn(5, 4, dtype=torch.float64)
    one_hot = F.one_hot(condition, 4).double() if labels else condition
    scale, shift = (one_hot @ (part.weight if labels else part.weight.T) for part in (norm.scale, norm.shift))
    expected = F.batch_norm(x, None, None, training=True)
    expected = (1 + scale)[:, :, None, None] * expected + shift[:, :, None, None]
    torch.testing.assert_close(norm(x, condition), expected, rtol=1e-12, atol=1e-12)
    if labels:  # A new one normalises only.
        torch.testing.assert_close(
            ConditionalBatchNorm(3, 4, labels=True).double()(x, condition),
            F.batch_norm(x, None, None, training=True),
        )


def test_the_projection_head_is_equation_3() -> None:
    head = drawn(ProjectionHead(3, 2))
    features, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([1, 0, 1, 1])
    weight, bias, v = head.unconditional.weight[0], head.unconditional.bias[0], head.embedding.weight
    expected = [float((weight @ phi + bias + v[y] @ phi).detach()) for phi, y in zip(features, labels, strict=True)]
    assert head(features, labels).tolist() == pytest.approx(expected)


class Plain(nn.Module):
    """A normalisation that ignores its condition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.norm(x) * condition


def convolved(x: Tensor, conv: nn.Module) -> Tensor:
    return F.conv2d(x, conv.weight, conv.bias, padding=conv.weight.shape[2] // 2)


def test_the_block_up_in_the_order_of_the_paper_s_figure() -> None:
    block = drawn(UpBlock(3, 5, Plain))
    x, two = torch.randn(4, 3, 3, 3, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)

    def up(maps: Tensor) -> Tensor:
        return maps.repeat_interleave(2, 2).repeat_interleave(2, 3)

    h = convolved(up(block.norm1(x, two).clamp(min=0)), block.conv1)
    h = convolved(block.norm2(h, two).clamp(min=0), block.conv2)
    # The 1 x 1 convolution comes after the shortcut's upsampling in the paper.
    torch.testing.assert_close(block(x, two), h + convolved(up(x), block.shortcut), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("outputs", [3, 5])
def test_the_block_down_in_the_order_of_the_paper_s_figure(down: bool, first: bool, outputs: int) -> None:
    block = drawn(DownBlock(3, outputs, down=down, first=first))
    x = torch.randn(4, 3, 4, 4, dtype=torch.float64)

    def mean(maps: Tensor) -> Tensor:
        return maps.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5)) if down else maps

    h = convolved(convolved(x if first else x.clamp(min=0), block.conv1).clamp(min=0), block.conv2)
    shortcut = convolved(x, block.shortcut) if down or outputs == 5 else x
    torch.testing.assert_close(block(x), mean(h) + mean(shortcut), rtol=1e-10, atol=1e-10)


def test_self_attention_is_torch_s_without_its_scale() -> None:
    layer = SelfAttention(16)
    x = torch.randn(2, 16, 6, 4, dtype=torch.float64)
    assert torch.equal(layer.double()(x), x)  # γ starts at 0.
    drawn(layer)
    query, key, value = (convolved(x, each) for each in (layer.query, layer.key, layer.value))
    assert [each.shape[1] for each in (query, key, value)] == [2, 2, 8]
    key, value = (F.max_pool2d(each, 2) for each in (key, value))
    rows = (each.flatten(2).transpose(1, 2) for each in (query, key, value))
    attended = F.scaled_dot_product_attention(*rows, scale=1.0).transpose(1, 2).unflatten(2, (6, 4))
    torch.testing.assert_close(layer(x), layer.gamma * convolved(attended, layer.output) + x, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="at least 8 channels, but gets 7"):
        SelfAttention(7)


def test_spectral_normalisation_of_embeddings_against_a_singular_value_decomposition() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2))
    before = [layer.weight.detach().clone() for layer in network]
    normalise_spectrally(network)
    for _ in range(100):
        network(torch.tensor([0]))
    for layer, original in zip(network, before, strict=True):
        torch.testing.assert_close(layer.weight, original / torch.linalg.svdvals(original)[0], rtol=1e-4, atol=1e-6)
    kept = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 2))
    embedding = kept[0].weight.clone()
    assert torch.equal(normalise_spectrally(kept, embeddings=False)[0].weight, embedding)
    assert float(torch.linalg.matrix_norm(kept[1].weight.detach(), 2)) == pytest.approx(1, rel=0.05)


def test_orthogonal_initialisation() -> None:
    network = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Linear(3, 8), nn.Embedding(4, 4), nn.BatchNorm1d(2))
    initialise_orthogonally(network)
    conv, dense, embedding = (layer.weight.flatten(1) for layer in list(network)[:3])
    for products in (conv @ conv.T, dense.T @ dense, embedding @ embedding.T):
        torch.testing.assert_close(products, torch.eye(len(products)), atol=1e-5, rtol=0)
    assert not network[0].bias.any()
    assert network[3].weight.tolist() == [1.0, 1.0]


def test_initial_weights_do_not_depend_on_the_number_of_threads() -> None:
    job, threads = make_job("width=16", "latent=8", variant="biggan", seed=3), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(job.build().networks["generator"].state_dict())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


@tf32_restored()
def test_the_orthogonal_penalty_is_equation_3() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Embedding(5, 2), nn.Conv2d(1, 2, (1, 2)))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 3.0]]))
        network[2].weight.copy_(torch.tensor([[1.0, 1.0], [2.0, -1.0]]).view(2, 1, 1, 2))
    # Products of two rows: 1, 0 and 6 in the dense layer, each twice, and 1 in the convolution, twice.
    assert float(orthogonal_penalty(network).detach()) == pytest.approx(2 * (1 + 0 + 36) + 2)
    assert float(orthogonal_penalty(initialise_orthogonally(nn.Conv2d(4, 6, 3))).detach()) == pytest.approx(0, abs=1e-9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert orthogonal_penalty(network).dtype == torch.float32


@tf32_restored()
def test_the_gradient_of_the_orthogonal_penalty() -> None:
    # d/dW ‖WWᵀ ∘ (1 - I)‖² = 4 (WWᵀ ∘ (1 - I)) W.
    layer = nn.Linear(4, 3, dtype=torch.float64)
    orthogonal_penalty(layer).backward()
    weight = layer.weight.detach()
    products = weight @ weight.T
    expected = 4 * (products - products.diag().diag()) @ weight
    torch.testing.assert_close(layer.weight.grad, expected)
