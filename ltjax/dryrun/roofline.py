"""Lower bounds of the time of a step, an epoch and a run, from the peak rates of a chip (roofline model)."""

from collections.abc import Sequence
from typing import NamedTuple

from ltjax.dryrun.collectives import traffic
from ltjax.dryrun.compiled import Compiled
from ltjax.hardware.chips import Chip

HOUR = 3600.0


class Times(NamedTuple):
    """Seconds per step for each resource by itself."""

    compute: float
    memory: float
    interconnect: float

    @property
    def step(self) -> float:
        """The maximum: the three can overlap at best completely."""
        return max(self)

    @property
    def binds(self) -> str:
        """The resource that takes longest."""
        return max(self._fields, key=lambda name: getattr(self, name))


class Phase(NamedTuple):
    """A phase of a run: its number of steps, and the seconds and images per step."""

    kind: str  # train or evaluation
    stage: str
    steps: int
    seconds: float
    images: int


def times(program: Compiled, chip: Chip, dtype: str) -> Times:
    """Computes the three times of one step.

    Example:
      >>> from ltjax.hardware.chips import TPUS
      >>> from ltjax.dryrun.collectives import Collective
      >>> from ltjax.dryrun.compiled import Memory
      >>> sums = [Collective("all-reduce", 10**8, 16, (), "")]
      >>> program = Compiled(Memory(0, 0, 0, 0, 0), 1.97e12, 0, 8.19e9, sums, 256, 1.0)
      >>> [round(1e3 * t, 3) for t in times(program, TPUS["v5e"].chip, "bfloat16")]  # ms
      [10.0, 10.0, 0.938]
    """
    compute = max(program.flops, program.traced_flops) / chip.flops[dtype]
    sent = sum(traffic(one) for one in program.collectives)
    moved = program.bytes if program.hbm is None else program.hbm
    return Times(compute, moved / chip.bandwidth, sent / chip.interconnect)


def evaluations(epochs: int, every: int) -> int:
    """Number of evaluations within a stage, without the one after the last epoch.

    Example:
      >>> evaluations(200, 10), evaluations(20, 0)
      (19, 0)
    """
    return (epochs - 1) // every if every else 0


def hours(phases: Sequence[Phase]) -> float:
    """Hours of all phases in sequence.

    Example:
      >>> hours([Phase("train", "first", 7200, 0.5, 256)])
      1.0
    """
    return sum(phase.steps * phase.seconds for phase in phases) / HOUR
