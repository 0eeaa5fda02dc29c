"""What a game's networks must be, so that they can be trained, averaged and saved."""

from collections.abc import Mapping

from torch import nn
from torch.nn.parameter import is_lazy


def check_networks(networks: Mapping[str, nn.Module]) -> None:
    """Checks networks before anything is done with them.

    Raises:
        ValueError: A network is no module, or has a parameter or buffer without a shape or with complex numbers.
    """
    for name, network in networks.items():
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise ValueError(f"the network {name!r} is a {kind}, but must be a torch.nn.Module")  # noqa: TRY004
        for key, tensor in (*network.named_parameters(), *network.named_buffers()):
            if is_lazy(tensor):
                raise ValueError(
                    f"the network {name!r} is lazy: {key} has no shape before the first forward. Give its layer the "
                    "number of inputs, or call the network once, on zeros, in `build`"
                )
            if tensor.is_complex():
                raise ValueError(
                    f"the network {name!r} has complex numbers in {key} ({tensor.dtype}), which are not supported. "
                    "Store the real and the imaginary part, as torch.view_as_real returns them"
                )
