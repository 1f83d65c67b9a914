"""``ltjax bench NAME [options]``, or ``python -m ltjax.bench NAME [options]``: runs the benchmark of that name."""

import importlib
import sys
from collections.abc import Sequence

from ltjax.commands.cli import guarded, spelled
from ltjax.errors import InputError, did_you_mean
from ltjax.training.execution import cpu_flags

BENCHMARKS = {
    "losses": "losses and their gradients beside optax and PyTorch; graph matching's memory",
    "step": "one training step beside PyTorch's, with the data on the device",
    "scan": "whole training with the data on the device beside a PyTorch loop over a DataLoader",
    "seeds": "several seeds in one program beside one seed and beside PyTorch's runs one after the other",
    "infer": "evaluation beside PyTorch: time, images/s, FLOPs, parameters",
    "input": "decoding and augmenting JPEGs beside a PyTorch DataLoader with torchvision's transforms",
    "sampler": "class-balanced and class-aware sampling of up to 100 million records beside PyTorch's samplers",
    "stage2": "a second stage on stored features beside the same stage through the backbone",
    "scale": "dry runs on slices of growing size, and one step on several CPU devices",
}
# These compile whole networks, with the compiler flags of the commands that train and evaluate.
COMPILING = ("step", "scan", "seeds", "infer", "stage2")


def overview() -> str:
    """The text of --help: a line for each benchmark."""
    width = max(map(len, BENCHMARKS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in BENCHMARKS.items()]
    command = spelled("bench", "ltjax.bench")
    return "\n".join([f"usage: {command} NAME [options]", "", *lines, "", f"{command} NAME --help has the options."])


def run(argv: Sequence[str]) -> int:
    """Runs the benchmark that the first argument names with the other arguments.

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
    if name in COMPILING:
        cpu_flags.prepare_cpu()  # before the benchmark imports jax
    importlib.import_module(f"ltjax.bench.{name}").main(options)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return guarded(run, argv)


if __name__ == "__main__":
    sys.exit(main())
