"""The parts of a run whose result depends on the number of processes; the plan names them."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gan_core.distributed.batchnorm import not_synchronised
from gan_core.game.phase import Networks


def depends_on_processes(networks: Networks, *, local_batchnorm: bool) -> list[str]:
    """Returns the modules that depend on the number of processes, each with its networks; empty if there are none.

    With torch's own dropout each process draws the masks of its own images: a resume is exact with the same number of
    processes, but not with another number. `gan_core.Dropout` has the same masks on any number. Functions such as
    torch.nn.functional.dropout are not found.
    """
    dropout = [name for name, network in networks.items() if any(map(_is_dropout, network.modules()))]
    batchnorm = [name for name in with_batchnorm(networks) if local_batchnorm]
    parts = {"torch's dropout": dropout, "local batch normalisation": batchnorm}
    if not local_batchnorm:
        for name, classes in not_synchronised(networks).items():
            for kind in classes:
                parts.setdefault(f"batch normalisation of the class {kind}", []).append(name)
    return [f"{part} ({', '.join(names)})" for part, names in parts.items() if names]


def with_batchnorm(networks: Networks) -> list[str]:
    """Returns the names of the networks with batch normalisation."""
    return [name for name, network in networks.items() if any(isinstance(m, _BatchNorm) for m in network.modules())]


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd) and module.p > 0
