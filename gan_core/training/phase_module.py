"""A phase as one module, which accelerate wraps.

An update is one forward and one backward of one module. This avoids the known problems of wrapping the networks one by
one: inside a loss, all networks are plain modules that can be called in any way, also for double backward.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from gan_core.errors import UserError
from gan_core.game.batch import Batch
from gan_core.game.phase import Networks, Phase
from gan_core.precision import tf32_restored


class PhaseModule(nn.Module):
    """Computes the loss of a phase: batch -> (sum of the terms to differentiate, all terms detached)."""

    def __init__(self, phase: Phase, networks: Networks) -> None:
        """Stores the phase and its networks. Call `freeze_others` before wrapping the phase and before each update."""
        super().__init__()
        self.phase = phase
        self.networks = nn.ModuleDict(networks)
        self.by_name: Networks = MappingProxyType(dict(networks))
        # Networks may share modules: each parameter once.
        parameters = (parameter for name in phase.trains for parameter in networks[name].parameters())
        self.trained = list(dict.fromkeys(parameter for parameter in parameters if parameter.requires_grad))
        trained = set(map(id, self.trained))
        self._wanted = [(parameter, id(parameter) in trained) for parameter in self.networks.parameters()]
        self.unused: list[nn.Parameter] = []
        self.terms: tuple[str, ...] = ()

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluates the loss.

        Raises:
            UserError: The loss returns something other than real scalars by name, or none carries a gradient.
        """
        terms = self.phase.loss(self.by_name, batch)
        self._check_terms(terms)
        learning = [term.reshape(()) for term in terms.values() if term.requires_grad]
        if not learning:
            raise UserError(
                f"phase {self.phase.name!r} trains no parameter of {', '.join(self.phase.trains)}: none of its terms "
                f"({', '.join(terms) or 'none'}) carries a gradient"
            )
        total = sum(learning[1:], start=learning[0])
        # DistributedDataParallel waits for a gradient of every trained parameter; unused ones get a gradient of zero.
        for parameter in self.unused:
            total = total + 0.0 * parameter.sum()
        return total, {name: term.detach().reshape(()) for name, term in terms.items()}

    def _check_terms(self, terms: object) -> None:
        phase = f"phase {self.phase.name!r}"
        if not isinstance(terms, Mapping):
            raise UserError(
                f"{phase}: its loss returned {_described(terms)}, but must return a dict of scalars by name"
            )
        for name, term in terms.items():
            if not isinstance(name, str):
                raise UserError(f"{phase}: its loss named a term {name!r}, but a name must be a str")
            if not isinstance(term, Tensor) or term.is_complex():
                raise UserError(
                    f"{phase}: the term {name!r} is {_described(term)}, but must be a scalar tensor of real numbers. "
                    "For a value that is only logged, use batch.images.new_tensor(value)"
                )
            if term.numel() != 1:
                raise UserError(
                    f"{phase}: the term {name!r} has the shape {tuple(term.shape)}, but must be a scalar. Take its "
                    "mean over the batch"
                )

    def freeze_others(self) -> None:
        """Unfreezes the phase's parameters and freezes all others of the game."""
        require_gradients(self._wanted)

    @tf32_restored()
    def find_unused(self, batch: Batch) -> None:
        """Records the phase's terms and unused parameters, from one forward pass before the phase is wrapped.

        Changes state such as running statistics, and in `after` also weights, which the caller must restore.

        Raises:
            UserError: All of its parameters are unused.
        """
        self.freeze_others()
        total, terms = self(batch)
        self.terms = tuple(terms)
        reached = reached_by([total])
        if self.phase.after is not None:
            with torch.no_grad():
                self.terms += tuple(self.phase.after(self.by_name, terms, batch) or ())
        self.unused = [parameter for parameter in self.trained if parameter not in reached]
        if len(self.unused) == len(self.trained):
            raise UserError(
                f"phase {self.phase.name!r} trains no parameter of {', '.join(self.phase.trains)}: its terms "
                "depend on none of them"
            )


def reached_by(outputs: Iterable[Tensor]) -> set[Tensor]:
    """Returns the leaves that a backward pass from these outputs would reach, found without one."""
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen, found = set(waiting), set[Tensor]()
    while waiting:
        node = waiting.pop()
        if hasattr(node, "variable"):  # What accumulates a leaf's gradient.
            found.add(node.variable)
        new = {earlier for earlier, _ in node.next_functions if earlier is not None} - seen
        seen |= new
        waiting += new
    return found


def require_gradients(wanted: Iterable[tuple[nn.Parameter, bool]]) -> None:
    """Says of each parameter whether it requires a gradient; most do already as they should, and a look is cheap."""
    for parameter, needed in wanted:
        if parameter.requires_grad is not needed:
            parameter.requires_grad_(needed)


def _described(value: object) -> str:
    """Returns the type of what a loss returned, and its value if it is short: "float: nan"."""
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype}" if value.is_complex() else "one tensor"
    text = repr(value)
    return type(value).__name__ + (f" {text}" if value is not None and len(text) <= 20 else "")
