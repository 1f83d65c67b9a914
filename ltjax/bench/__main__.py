"""``ltjax bench NAME [options]``, or ``python -m ltjax.bench NAME [options]``: runs the benchmark of that name."""

import importlib
import sys
from collections.abc import Sequence

from ltjax.commands.cli import guarded, spelled
from ltjax.errors import InputError, did_you_mean
from ltjax.training.execution import cpu_flags, devices

BENCHMARKS = {
    "losses": "losses and their gradients compared with optax and PyTorch; memory of graph matching",
    "step": "one training step compared with PyTorch, with the data on the device",
    "scan": "training with the data on the device compared with a PyTorch loop over a DataLoader",
    "seeds": "several seeds in one program compared with one seed, and with successive PyTorch runs",
    "infer": "evaluation compared with PyTorch: time, images/s, FLOPs, parameters",
    "input": "decoding and augmenting JPEGs compared with a PyTorch DataLoader and torchvision's transforms",
    "sampler": "class-balanced and class-aware sampling of up to 100 million records compared with PyTorch's samplers",
    "stage2": "a second stage on stored features compared with the same stage through the backbone",
    "gpu": "all of this that a GPU is borrowed for, in one command with a time limit",
    "scale": "dry runs on TPU slices of increasing size, and one step on several simulated CPU devices",
}
# These compile whole networks, so they use the compiler flags of training and evaluation.
COMPILING = ("step", "scan", "seeds", "infer", "stage2")  # gpu: in the processes of its variants


def overview() -> str:
    """The text of --help, with a line per benchmark."""
    width = max(map(len, BENCHMARKS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in BENCHMARKS.items()]
    command = spelled("bench", "ltjax.bench")
    return "\n".join([f"usage: {command} NAME [options]", "", *lines, "", f"{command} NAME --help prints the options."])


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark named by the first argument, with the other arguments.

    Raises:
      InputError: for an unknown name.
    """
    if argv and argv[0] in ("--help", "-h"):
        print(overview())
        return 0
    if not argv or argv[0] not in BENCHMARKS:
        what = f"unknown benchmark '{argv[0]}'{did_you_mean(argv[0], BENCHMARKS)}" if argv else "name a benchmark"
        raise InputError(f"{spelled('bench', 'ltjax.bench')}: {what}; allowed: {', '.join(BENCHMARKS)}")
    name, *options = argv
    devices.check_xla_flags()
    if name in COMPILING:
        cpu_flags.prepare_cpu()  # before the benchmark imports jax
    importlib.import_module(f"ltjax.bench.{name}").main(options)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
