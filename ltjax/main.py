"""The main job: trains, evaluates, resumes and reports.

python -m ltjax.main --config=configs/mnist5k_reslt.py --workdir=runs/mnist5k_reslt [--config.KEY=VALUE ...]
"""

import sys
from collections.abc import Sequence

from ltjax.errors import InputError

STACK = ("absl", "etils", "flax", "grain", "matplotlib", "ml_collections", "optax", "orbax", "tensorboardX")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (0 done, 1 failed, 2 bad input, 130 / 143 told to stop)."""
    return guarded(lambda: run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    if {"--help", "-h"} & set(argv):
        print((__doc__ or "") + "\nEvery setting with its meaning and default: ltjax/presets/settings.py.")
        return 0
    from ltjax.config import parse

    config, workdir = parse(argv)
    use_devices(config.dtype)
    from ltjax.report import format_table, write_report
    from ltjax.training.interrupt import Interrupted
    from ltjax.training.loop import train
    from ltjax.training.workdir import absolute

    try:
        results = train(config, workdir)
    except Interrupted as told:
        print(f"{told}: saved; the same command goes on from here", file=sys.stderr)
        return told.status
    if is_first_process():
        # From the files alone: also after a kill between the results and their report.
        page = write_report(absolute(workdir))
        print(format_table(results))
        print(f"report: {page}")
    return 0


def use_devices(dtype: str) -> None:
    """Settings that must stand before the first array: float64, the CPU's compiler, the other processes."""
    from ltjax.training.devices import prepare_cpu

    prepare_cpu()
    import jax

    from ltjax.training.mesh import join_processes

    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    join_processes()


def is_first_process() -> bool:
    import jax

    return jax.process_index() == 0


def guarded(command) -> int:
    """Runs it; what a person can mend becomes one line on stderr."""
    try:
        return command()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in STACK:
            raise
        print(f"error: {error.name} is not installed: pip install 'ltjax[train]'", file=sys.stderr)
        return 2
    except ImportError as error:  # a path of a cloud store whose package is missing
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (FloatingPointError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("SIGINT: nothing was under way that could be saved", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
