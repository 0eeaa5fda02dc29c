"""Spectral normalisation of a whole network."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def normalise_spectrally(network: nn.Module, *, embeddings: bool = True) -> nn.Module:
    """Divides the weight of every dense, convolutional and embedding layer by its largest singular value, in place.

    Miyato et al. 2018, equation 8: each weight, reshaped to a matrix, then has a spectral norm of 1. torch estimates
    the singular value by one step of power iteration in every forward pass in training mode. The vectors of the
    iteration are buffers, which checkpoints contain. They depend on the weights alone and not on the images, so they
    are identical for any number of processes.

    Args:
        network: Any module; its `nn.Linear`, `nn.Conv2d`, `nn.ConvTranspose2d` and `nn.Embedding` layers are
            parametrised.
        embeddings: Whether those of the class `nn.Embedding` are. Generators often leave them as they are.

    Returns:
        The same network.
    """
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, *([nn.Embedding] if embeddings else []))
    for module in list(network.modules()):
        if isinstance(module, kinds):
            spectral_norm(module)
    return network
