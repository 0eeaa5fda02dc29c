"""What of a run depends on the number of its processes: the plan says it, so that nobody compares what cannot agree."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gan_core.game.phase import Networks


def depends_on_processes(networks: Networks, *, local_batchnorm: bool) -> list[str]:
    """Returns the parts that do, each with its networks: none where the run is the same on any number of processes.

    What dropout drops is drawn by each process for its own images: exact on a resume with as many processes, but not
    with another number.
    """
    drops = [name for name, network in networks.items() if any(map(_drops, network.modules()))]
    normalises = [name for name in with_batchnorm(networks) if local_batchnorm]
    parts = {"dropout": drops, "local batch normalisation": normalises}
    return [f"{part} ({', '.join(names)})" for part, names in parts.items() if names]


def with_batchnorm(networks: Networks) -> list[str]:
    """Names the networks with batch normalisation."""
    return [name for name, network in networks.items() if any(isinstance(m, _BatchNorm) for m in network.modules())]


def _drops(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) and module.p > 0
