"""What makes a forked process the same as a fresh interpreter that was started with `python -m`."""

import atexit
import importlib
import os
import random
import signal
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

FIXED = (
    *("CUDA_", "GOMP_", "HF_", "KMP_", "LANG", "LC_", "LD_", "MKL_", "OMP_", "OPENBLAS_", "PYTHON", "PYTORCH_"),
    *("TMPDIR", "TORCH_", "TZ"),
)
"""How the names of environment variables begin that an interpreter or a library reads once, when it is loaded."""

APPLIED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONPATH", "PYTHONWARNINGS", "PYTHON_EXEC")
"""Those among them that `become` applies to what is loaded already, or that are read when they are needed."""

SET_BY_IMPORTS = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
"""Those that scikit-learn sets when it is imported: in the server, and in pytest's process at any time or never."""

SET_BY_LAUNCHERS = ("KMP_AFFINITY", "KMP_BLOCKTIME", "TORCH_NCCL_ASYNC_ERROR_HANDLING")
"""Those that accelerate and torchrun set for what they start: for Intel's OpenMP, which torch's wheels do not have, and
for NCCL, which reads it when a group is made."""


def can_have(environment: dict[str, str], loaded: dict[str, str]) -> bool:
    """Says whether a process whose libraries were loaded in one environment can become one of the other."""
    names = {name for name in environment.keys() | loaded.keys() if name.startswith(FIXED)}
    return all(
        environment.get(name) == loaded.get(name)
        for name in names.difference(APPLIED, SET_BY_IMPORTS, SET_BY_LAUNCHERS)
    )


@dataclass
class Interpreter:
    """What an interpreter had before it imported anything, and what the imports have added."""

    site: list[str]
    """sys.path as Python's module `site` makes it."""
    filters: list[Any]
    """The filters of warnings."""
    environment: dict[str, str]
    filters_of_imports: list[Any] = field(default_factory=list)
    variables_of_imports: dict[str, str] = field(default_factory=dict)

    @classmethod
    def now(cls) -> "Interpreter":
        """Looks at this one, which was started by `python -m` without PYTHONPATH and without options of warnings."""
        return cls(site=sys.path[1:], filters=list(warnings.filters), environment=dict(os.environ))

    def note_imports(self) -> None:
        """Notes the filters and the environment variables that the imported modules have added."""
        ours = [*self.filters, ("default", None, Warning, None, 0)]
        self.filters_of_imports = [entry for entry in warnings.filters if entry not in ours]
        self.variables_of_imports = dict(os.environ.items() - self.environment.items())

    def can_become(self, environment: dict[str, str]) -> bool:
        """Says whether this interpreter can have this environment, as it is after the imports."""
        return can_have(environment, self.environment)

    def become(
        self,
        *,
        words: list[str],
        folder: str,
        environment: dict[str, str],
        descriptors: list[int],
        group: int,
        executable: str = sys.executable,
    ) -> None:
        """Makes this process, forked from that interpreter after the imports, a fresh one.

        What stays as it was is the seed of hashes: sets of strings have the same order in all forked processes.

        Args:
            words: The module and its arguments, for sys.argv.
            folder: Where the process works; first on sys.path, as for `python -m`.
            environment: All of its variables.
            descriptors: What become stdout and stderr.
            group: The process group that it joins, or 0 for one of its own.
            executable: What it starts as the Python interpreter.
        """
        os.setpgid(0, group)
        for descriptor, standard in zip(descriptors, (1, 2), strict=True):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(self.variables_of_imports | environment)
        sys.argv = words
        sys.executable = executable
        self._find_modules()
        self._filter_warnings()
        _seed()
        _start_threads()

    def _find_modules(self) -> None:
        entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        sys.path[:] = dict.fromkeys([str(Path.cwd()), *(str(Path(entry).absolute()) for entry in entries), *self.site])
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()

    def _filter_warnings(self) -> None:
        sys.warnoptions[:] = [option for option in os.environ.get("PYTHONWARNINGS", "").split(",") if option]
        warnings.resetwarnings()
        warnings.filters.extend(self.filters)  # type: ignore[attr-defined]
        warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]
        warnings.filters[:0] = self.filters_of_imports  # type: ignore[index]


class End:
    """Ends the process as the interpreter would, once that has done all but to free what there is.

    Within the block runs what the process is for. To free the imported modules would take each process two seconds, for
    it copies the memory that forked processes share. The interpreter itself prints tracebacks, waits for threads and
    runs the other functions of `atexit`: those registered later come first.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._leave)

    def __enter__(self) -> None:
        self._code = 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, SystemExit):
            self._code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif isinstance(error, KeyboardInterrupt):
            self._code = -signal.SIGINT
        elif error is not None:
            self._code = 1

    def _leave(self) -> None:
        if self._code is None:
            return
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except (OSError, ValueError):
            return  # The interpreter reports it, and has an exit code for it.
        if self._code < 0:
            signal.signal(-self._code, signal.SIG_DFL)
            os.kill(os.getpid(), -self._code)
        os._exit(self._code & 0xFF)


def _seed() -> None:
    """Draws anew what is seeded by chance, so that forked processes have no random numbers in common."""
    import numpy as np
    import torch

    random.seed()
    np.random.seed()
    torch.default_generator.seed()


def _start_threads() -> None:
    """Gives torch and OpenBLAS as many threads as they would have taken in this environment."""
    import torch
    from threadpoolctl import ThreadpoolController

    asked = os.environ.get("OMP_NUM_THREADS")
    if asked:  # Without it, torch has taken as many as there are cores.
        torch.set_num_threads(int(asked))
    # OpenBLAS was loaded with one, for it starts its threads at once, and a process with threads cannot be forked.
    blas = int(os.environ.get("OPENBLAS_NUM_THREADS") or asked or len(os.sched_getaffinity(0)))
    if blas > 1:
        ThreadpoolController().select(internal_api="openblas").limit(limits=blas)
