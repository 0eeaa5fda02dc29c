"""Orthogonal initialisation, and the regularisation that keeps filters orthogonal."""

import torch
from torch import Tensor, nn

from gan_core.precision import precise


def initialise_orthogonally(network: nn.Module) -> nn.Module:
    """Makes the weight of every dense, convolutional and embedding layer orthogonal, in place (Saxe et al. 2014).

    A weight as a matrix (out, rest) then has orthonormal rows or columns. Biases become 0. Call it before
    `normalise_spectrally`. The last digits depend on torch's number of threads: the core builds games with one.

    Args:
        network: Any module.

    Returns:
        The same network.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            nn.init.orthogonal_(module.weight)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return network


def orthogonal_penalty(network: nn.Module) -> Tensor:
    """Σ ‖W Wᵀ ∘ (1 - I)‖²_F over all weights: 0 if the filters of each layer are orthogonal, of any length.

    Brock et al. 2019, equation 3, without its factor β. W is (out, rest): the paper's, which is (rest, out), has WᵀW.

    Args:
        network: Its parameters with at least two dimensions are penalised, except those of embeddings. Of layers with
            spectral normalisation it is the weight before the division.

    Returns:
        A scalar in float32 without TF32, or in float64 for such weights, also under autocast.
    """
    exempt = {id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    weights = [p for p in network.parameters() if p.ndim > 1 and id(p) not in exempt]
    with precise(weights[0].device):
        penalties = []
        for weight in weights:
            rows = weight.flatten(1)
            products = rows @ rows.T
            penalties.append(products.square().sum() - products.diagonal().square().sum())
        return torch.stack(penalties).sum()
