"""``python -m ltjax.bench losses [options]``: runs the benchmark of that name."""

import importlib
import sys

BENCHMARKS = ("losses",)


def main(arguments: list[str]) -> int:
    """Runs the benchmark that the first argument names, with the others; 2 when there is none of that name."""
    if not arguments or arguments[0] not in BENCHMARKS:
        given = f"unknown benchmark '{arguments[0]}'" if arguments else "name a benchmark"
        print(f"python -m ltjax.bench: {given}; allowed: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    importlib.import_module(f"ltjax.bench.{arguments[0]}").main(arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
