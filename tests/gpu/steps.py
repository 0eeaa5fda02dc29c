"""The steps of `make test-gpu`, in their order, each with the seconds that it may take: together below 9 minutes."""

from collections.abc import Callable

from tests.gpu.evaluation import evaluation
from tests.gpu.lab import Lab, Result
from tests.gpu.rates import rates
from tests.gpu.recipes import recipes
from tests.gpu.refusals import refusals
from tests.gpu.resume import default_algorithms, deterministic_algorithms
from tests.gpu.tf32 import tf32
from tests.gpu.two_processes import two_processes
from tests.gpu.waits import waits

STEPS: dict[str, tuple[Callable[[Lab], Result], float]] = {
    "TF32": (tf32, 40),
    "repeat and resume, default": (default_algorithms, 70),
    "repeat and resume, deterministic": (deterministic_algorithms, 70),
    "one and two processes": (two_processes, 80),
    "waits": (waits, 50),
    "rates": (rates, 70),
    "evaluation": (evaluation, 50),
    "recipes": (recipes, 70),
    "refusals": (refusals, 40),
}
