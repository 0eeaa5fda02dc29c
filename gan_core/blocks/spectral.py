"""Spectral normalisation of a whole network."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def normalise_spectrally(network: nn.Module) -> nn.Module:
    """Divides the weight of every dense and convolutional layer by its largest singular value, in place.

    Miyato et al. 2018, equation 8: each layer, read as a matrix, then stretches nothing by more than 1. torch estimates
    the value by one step of power iteration at every forward pass in training, from buffers that checkpoints keep. They
    depend on the weights alone and never on the images, so they are the same on any number of processes.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            spectral_norm(module)
    return network
