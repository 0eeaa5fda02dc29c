"""One process against two that share the GPU, in float64.

NCCL refuses two processes on one GPU. gloo takes CUDA tensors: it copies them to pinned memory, reduces or gathers them
there, and copies them back, on streams of its own. So each process is told that it is alone on its machine, with GPU 0,
and gets gloo in place of NCCL; everything else is what runs on several GPUs. See rank.py.
"""

from gan_core.testing.ports import free_ports, rank_environments
from tests.gpu.lab import QUIET, Lab, Result, images
from tests.runs import difference, weights

GAMES = {
    "dcgan": ("variant=dcgan", "width=4"),
    "wgan-gp": ("variant=wgan", "width=4", "penalty=gradient", "critic_steps=2"),
    "acgan": ("variant=acgan", "maps=8", "r1=0.5"),
}
_LIMIT = 1e-9
"""As on CPUs."""


def two_processes(lab: Lab) -> Result:
    """Two processes give the weights of one."""
    found = {}
    for name in list(GAMES)[:1] if lab.short else GAMES:
        words = [*GAMES[name], *images(lab), *QUIET, "batch=32", "precision=fp64", f"steps={3 if lab.short else 10}"]
        lab.train(f"{name}-one", *words[1:], variant=words[0].partition("=")[2])
        (port,) = free_ports(1)
        alone = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "OMP_NUM_THREADS": "1"}
        alone |= {"ACCELERATE_USE_CPU": str(int(not lab.on_gpu))}
        ranks = [rank | alone for rank in rank_environments(2, port)]
        failed, output = lab.launch(["tests.gpu.rank", str(lab.folder / f"{name}-two"), *words], ranks)
        assert not failed, output
        # Each rank says where it ran.
        assert output.count(f"2 processes on {lab.device}") == 2, output
        found[name] = difference(weights(lab.folder / f"{name}-one"), weights(lab.folder / f"{name}-two"))
        assert found[name] < _LIMIT, found
    return found
