"""``python -m ltjax.bench NAME [options]``: runs the benchmark of that name."""

import importlib
import sys

from ltjax.commands.cli import guarded
from ltjax.training.execution import cpu_flags

BENCHMARKS = ("losses", "step", "scan", "seeds", "infer", "input", "sampler", "stage2", "scale")
# compiled as the commands that train and evaluate compile them
WHOLE_NETWORKS = ("step", "scan", "seeds", "infer", "stage2")


def main(arguments: list[str]) -> int:
    """Runs the benchmark that the first argument names, with the others; 2 when there is none of that name."""
    if not arguments or arguments[0] not in BENCHMARKS:
        given = f"unknown benchmark '{arguments[0]}'" if arguments else "name a benchmark"
        print(f"python -m ltjax.bench: {given}; allowed: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    name, *options = arguments
    return guarded(lambda: run(name, options))


def run(name: str, options: list[str]) -> int:
    if name in WHOLE_NETWORKS:
        cpu_flags.prepare_cpu()  # before the benchmark imports jax
    importlib.import_module(f"ltjax.bench.{name}").main(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
