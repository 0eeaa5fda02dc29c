"""Optimizers for `Phase.optimizer`: torch's, with its fused kernels where it has them."""

from torch import optim

from gan_core.game.phase import MakeOptimizer


def adam(lr: float, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> MakeOptimizer:
    """Adam (Kingma & Ba 2015, algorithm 1).

    Args:
        lr: Learning rate, above 0.
        betas: Decay rates of the first and the second moment, in [0, 1). GANs often set the first to 0.5 (Radford et
            al. 2016) or 0.
        epsilon: Added to the denominator.
    """
    return lambda parameters: optim.Adam(parameters, lr=lr, betas=betas, eps=epsilon, fused=True)


def rmsprop(lr: float, alpha: float = 0.99) -> MakeOptimizer:
    """RMSProp (Hinton 2012, lecture 6e), used by WGAN (Arjovsky et al. 2017, algorithm 1).

    Args:
        lr: Learning rate, above 0.
        alpha: Decay rate of the mean of squared gradients, in [0, 1).
    """
    return lambda parameters: optim.RMSprop(parameters, lr=lr, alpha=alpha)


def sgd(lr: float, momentum: float = 0.0, nesterov: bool = False) -> MakeOptimizer:
    """Stochastic gradient descent, optionally with (Nesterov) momentum (Sutskever et al. 2013).

    Args:
        lr: Learning rate, above 0.
        momentum: Momentum factor, in [0, 1).
        nesterov: Whether to use Nesterov momentum; needs a momentum above 0.
    """
    return lambda parameters: optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
