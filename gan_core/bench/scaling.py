"""A model of weak scaling: each process has a batch of its own, and more processes make a larger global batch.

python -m gan_core.bench.scaling GRADIENTS STATISTICS COLLECTIVES LATENCY BANDWIDTH STEP ...

GRADIENTS and STATISTICS are megabytes a step, and COLLECTIVES their number, as `gan_core bench --processes 2` prints
them; LATENCY is in microseconds, BANDWIDTH in gigabytes per second and process, each STEP in milliseconds of one
process alone. Prints the table of launch/README.md: everything in it is calculated.
"""

import sys
from dataclasses import dataclass
from math import ceil, log2


@dataclass(frozen=True)
class Communication:
    """What a step communicates, and over which network.

    Attributes:
        gradients: Bytes of gradients a step, in all-reduces.
        statistics: Bytes of statistics of batch normalisation a step: half of them are gathered, in forward, and half
            reduced, in backward.
        collectives: Their number a step.
        latency: Seconds for a message between two processes.
        bandwidth: Bytes per second that a process sends.
    """

    gradients: float
    statistics: float
    collectives: float
    latency: float
    bandwidth: float

    def seconds(self, processes: int) -> float:
        """Returns seconds a step, if no communication overlaps with computation.

        An all-reduce of n bytes sends 2 (N - 1) / N n bytes from each of N processes, the least that is possible
        (Patarasu & Yuan 2009, Bandwidth optimal all-reduce algorithms, theorem 1), an all-gather (N - 1) n. Each
        collective waits for the messages of a tree, up and down: 2 ceil(log2 N) latencies.
        """
        reduced = 2 * (processes - 1) / processes * (self.gradients + self.statistics / 2)
        gathered = (processes - 1) * self.statistics / 2
        messages = self.collectives * 2 * ceil(log2(processes))
        return messages * self.latency + (reduced + gathered) / self.bandwidth

    def efficiency(self, processes: int, step: float) -> float:
        """Returns the images per second of N processes, divided by N times those of one, whose step takes `step` s."""
        return step / (step + self.seconds(processes))


def table(communication: Communication, steps: list[float]) -> str:
    """Returns the table in Markdown: 1 to 1,024 processes, and where more than half of a step is communication."""
    heads = [f"efficiency, step of {1000 * step:g} ms" for step in steps]
    rows = [["processes", "communication a step", *heads], ["---:"] * (2 + len(steps))]
    for exponent in range(11):
        processes = 2**exponent
        shares = [f"{communication.efficiency(processes, step):.0%}" for step in steps]
        rows.append([f"{processes:,}", f"{1000 * communication.seconds(processes):.2f} ms", *shares])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    gradients, statistics, collectives, latency, bandwidth, *milliseconds = map(float, sys.argv[1:])
    model = Communication(gradients * 1e6, statistics * 1e6, collectives, latency * 1e-6, bandwidth * 1e9)
    print(table(model, [each / 1000 for each in milliseconds]))
