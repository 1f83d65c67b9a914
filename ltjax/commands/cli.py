"""What all commands share: the argument parser, the one line of an error, exit statuses, devices."""

import argparse
import sys
from typing import Any, NoReturn

from ltjax.errors import InputError

STACK = ("absl", "etils", "flax", "grain", "matplotlib", "ml_collections", "optax", "orbax", "tensorboardX")


class Parser(argparse.ArgumentParser):
    """A command's argument parser: an error is one line, no flag is guessed from its beginning.

    Args:
      command: the module, such as "ltjax.table".
      description: the text above the options in --help, as it is.
      settings: further arguments of argparse's.

    Example:
      >>> try:
      ...     Parser("ltjax.table", "Runs a table.").parse_args(["--rot=x"])
      ... except InputError as error:
      ...     print(error)
      unrecognized arguments: --rot=x; see python -m ltjax.table --help
    """

    def __init__(self, command: str, description: str | None, **settings: Any) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(
            f"python -m {command}", None, description, formatter_class=form, allow_abbrev=False, **settings
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def use_devices(dtype: str) -> None:
    """Settings that must stand before the first array: float64, the CPU's compiler, the other processes."""
    from ltjax.training.execution.cpu_flags import prepare_cpu

    prepare_cpu()
    import jax

    from ltjax.training.execution.mesh import join_processes

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
