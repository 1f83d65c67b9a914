"""What all commands share: how they were started, the argument parser, the one line of an error, devices."""

import argparse
import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ltjax import escape
from ltjax.errors import InputError, OutOfMemory, shortened

# What `pip install 'ltjax[train]'` brings beside jax and numpy.
TRAINING_STACK = {
    "absl", "cloudpickle", "etils", "flax", "grain", "matplotlib", "ml_collections", "optax", "orbax", "PIL",
    "tabulate", "tensorboardX", "tensorflow_datasets", "tqdm",
}  # fmt: skip


def spelled(command: str, module: str) -> str:
    """The command as it was started: ``ltjax evaluate``, or ``python -m ltjax.evaluate``.

    Args:
      command: its words behind ``ltjax``, such as "prepare shards".
      module: the name after ``python -m``, such as "ltjax.data.prepare".
    """
    started = os.path.basename(sys.argv[0]).removesuffix(".exe")
    return f"ltjax {command}" if started == "ltjax" else f"python -m {module}"


class Parser(argparse.ArgumentParser):
    """A command's argument parser: an error is one line, and no flag is guessed from its beginning.

    Args:
      command, module: its two forms, as ``spelled`` takes them.
      description: the text above the options in --help; its line breaks are kept.
      options: further arguments of argparse's.

    Example:
      >>> try:
      ...     Parser("table", "ltjax.table", "Makes a table.").parse_args(["--rot=x"])
      ... except InputError as error:
      ...     print(error)
      unrecognized arguments: --rot=x; see python -m ltjax.table --help
    """

    def __init__(self, command: str, module: str, description: str | None, **options: Any) -> None:
        kept = argparse.RawDescriptionHelpFormatter
        super().__init__(
            spelled(command, module), None, description, formatter_class=kept, allow_abbrev=False, **options
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def use_devices(dtype: str) -> None:
    """Starts JAX: the CPU's compiler flags, float64, the other processes, then the devices.

    Raises:
      InputError: one line for variables of the environment that contradict one another, or devices that are not here.
    """
    from ltjax.training.execution.cpu_flags import prepare_cpu
    from ltjax.training.execution.devices import check_xla_flags, start_devices
    from ltjax.training.execution.processes import join_processes, this_run

    processes = this_run()
    check_xla_flags()
    prepare_cpu()
    import jax

    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    # A run is ours, flax's and optax's code, which strict variables of the user's are not meant for.
    jax.config.update("jax_numpy_rank_promotion", "allow")
    jax.config.update("jax_numpy_dtype_promotion", "standard")
    join_processes(processes)
    for note in (processes.note, start_devices()):
        if note:
            print(f"note: {note}", file=sys.stderr)


def is_first_process() -> bool:
    """Whether this process prints and writes what all processes of a run have computed."""
    import jax

    return jax.process_index() == 0


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks and with long words shortened; of a failed system call the file and
    the reason.

    Example:
      >>> one_line(FileNotFoundError(2, "No such file or directory", "runs/mine"))
      'runs/mine: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        if error.errno == errno.EMFILE:
            return f"{place}{error.strerror}; raise the limit of this shell (ulimit -n 1024), or use fewer workers"
        return f"{place}{error.strerror}"
    return " ".join(map(shortened, str(error).split()))  # a message quotes no path or word in full that has no end


def guarded(run: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None, unfinished: str = "") -> int:
    """Runs a command; an error that its user can mend becomes one line on stderr.

    Args:
      run: takes the arguments and returns the exit status.
      argv: the arguments; those of this process by default.
      unfinished: what a user should know of the work that an interrupted or failed command leaves.

    Returns:
      The exit status: that of ``run``; 2 for bad input or a missing package; 1 when computing, reading or writing
      failed; 130 after Ctrl-C; 141 when the reader of its output has ended.
    """
    from ltjax.training.execution.devices import explained

    streams_for_any_text()
    try:
        status = run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # a full disk behind stdout is an error here, not a trace when Python ends
        return status
    except BrokenPipeError as error:
        return 141 if _drop_unwritable() else _report(one_line(error), 1)
    except InputError as error:
        return _report(one_line(error), 2)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in TRAINING_STACK:
            raise
        return _report(f"{error.name} is not installed; install it with: pip install 'ltjax[train]'", 2)
    except OutOfMemory as error:
        return _report(one_line(error), 1)
    except (ValueError, RuntimeError, AssertionError, MemoryError) as error:
        line, status = explained(error), 2  # of JAX's start, wherever a command starts it
        if line is None:
            line, status = _of_memory(error), 1
        if line is None:
            raise
        return _report(line, status)
    except ImportError as error:  # a path of a cloud store whose package is missing
        return _report(one_line(error), 2)
    except (FloatingPointError, OSError) as error:
        _drop_unwritable()
        return _report(one_line(error) + (f"; {unfinished}" if unfinished else ""), 1)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print(f"\nstopped by SIGINT; {unfinished or 'there was no work to save'}", file=sys.stderr)
        return 130


def _of_memory(error: Exception) -> str | None:
    """The line of an error for lack of memory in a command that does not say itself what helps; None for others."""
    from ltjax.training.out_of_memory import described, lacks_memory

    return described(error, "here", "use smaller batches, or fewer images at a time") if lacks_memory(error) else None


def _report(message: str, status: int) -> int:
    with contextlib.suppress(OSError):  # nobody reads stderr any more; the status still tells
        print(f"error: {escape.terminal(message)}", file=sys.stderr)
    return status


def streams_for_any_text() -> None:
    """Whatever the locale or PYTHONIOENCODING, a letter that the terminal does not have is printed as an escape.

    A stream that was closed before Python began (``>&-``) takes everything and prints nothing.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", errors="backslashreplace"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):  # not the streams of a notebook or a test
            stream.reconfigure(errors="backslashreplace")


def _drop_unwritable() -> bool:
    """Drops what stdout and stderr still hold if they cannot be written; True if the reader of a pipe has ended.

    Python would try again when it ends, and print a trace.
    """
    closed = False
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(io.UnsupportedOperation):  # a notebook's or a test's stream has no file
            file = stream.fileno()
            unread = _has_no_reader(file)
            try:
                stream.flush()
            except OSError:
                unwritable = True
            else:
                unwritable = unread
            if unwritable:
                os.dup2(os.open(os.devnull, os.O_WRONLY), file)
            closed = closed or unread
    return closed


def _has_no_reader(file: int) -> bool:
    """Whether a file descriptor is a pipe whose other end is closed."""
    poll = select.poll()
    poll.register(file, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
