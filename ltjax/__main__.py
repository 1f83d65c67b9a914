"""The console script: ``ltjax COMMAND ...``, or ``python -m ltjax COMMAND ...``. Alone it lists the commands."""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from ltjax.commands.cli import guarded
from ltjax.errors import InputError, did_you_mean


class Command(NamedTuple):
    """A command.

    Attributes:
      module: has ``main(argv) -> exit status``; it is imported when the command is called.
      also: the form that works in a clone that is not installed.
      summary: one line for the overview.
    """

    module: str
    also: str
    summary: str


COMMANDS = {
    "train": Command("ltjax.commands.train", "ltjax.main", "train, resume, evaluate and report a run"),
    "evaluate": Command("ltjax.commands.evaluate", "ltjax.evaluate", "evaluate a finished run again"),
    "predict": Command("ltjax.commands.predict", "ltjax.predict", "classify images with a finished run"),
    "export": Command("ltjax.commands.export", "ltjax.export", "write a finished run as safetensors, StableHLO, ONNX"),
    "demo": Command("ltjax.commands.demo.command", "ltjax.demo", "try a finished run on images, on a page"),
    "table": Command("ltjax.commands.table", "ltjax.table", "train every cell of a table of results"),
    "tune": Command("ltjax.commands.tune.command", "ltjax.tune", "search over settings on held-out training images"),
    "compare": Command("ltjax.commands.compare", "ltjax.compare", "compare finished runs: table and figures"),
    "report": Command("ltjax.commands.report", "ltjax.report", "make the report of a finished run again"),
    "check": Command("ltjax.commands.check.command", "ltjax.data.check", "check a data set before a long run"),
    "prepare": Command(
        "ltjax.commands.prepare.command", "ltjax.data.prepare", "make shards, a CIFAR .npz file, or a TFDS data set"
    ),
    "dryrun": Command("ltjax.dryrun.__main__", "ltjax.dryrun", "compile a run for TPUs or GPUs: does it fit, how fast"),
    "bench": Command("ltjax.bench.__main__", "ltjax.bench", "measure speed and memory beside PyTorch"),
}


def overview() -> str:
    """The text of ``ltjax --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ltjax COMMAND [options]",
            "",
            "Long-tailed image recognition in JAX.",
            "",
            *lines,
            "",
            "ltjax COMMAND --help describes the options of a command. python -m ltjax COMMAND is the same, and so are:",
            *(f"  python -m {command.also}" for command in COMMANDS.values()),
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Calls the command that the first argument names with the other arguments; returns its exit status."""
    return guarded(_call, argv)


def _call(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("--help", "-h"):
        print(overview())
        return 0
    name, *arguments = argv
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        raise InputError(f"unknown command '{name}'{hint}; allowed: {', '.join(COMMANDS)}")
    return importlib.import_module(COMMANDS[name].module).main(arguments)


if __name__ == "__main__":
    sys.exit(main())
