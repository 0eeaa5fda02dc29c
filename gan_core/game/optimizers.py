"""Optimizers for phases: torch's own, with the settings that a plugin names and the fused kernels they come with."""

from torch import optim

from gan_core.game.phase import MakeOptimizer


def adam(lr: float, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> MakeOptimizer:
    """Adam (Kingma & Ba 2015, algorithm 1). GANs often set the first beta to 0.5 (Radford et al. 2016) or 0."""
    return lambda parameters: optim.Adam(parameters, lr=lr, betas=betas, eps=epsilon, fused=True)


def rmsprop(lr: float, alpha: float = 0.99) -> MakeOptimizer:
    """RMSProp (Hinton 2012, lecture 6e), the choice of WGAN (Arjovsky et al. 2017, algorithm 1)."""
    return lambda parameters: optim.RMSprop(parameters, lr=lr, alpha=alpha)


def sgd(lr: float, momentum: float = 0.0, nesterov: bool = False) -> MakeOptimizer:
    """Stochastic gradient descent, with (Nesterov) momentum (Sutskever et al. 2013)."""
    return lambda parameters: optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
