"""The toy through the real command, in a process of its own: python -m tests.faults.run_toy WORKDIR [KEY=NUMBER ...]"""

import sys

from ltjax import models
from ltjax.commands import train as command
from ltjax.commands.cli import guarded
from ltjax.methods import configure
from ltjax.training import prepare
from tests.training import toy


def main() -> int:
    workdir, *words = sys.argv[1:]
    changes = {key: int(value) for key, _, value in (word.partition("=") for word in words)}
    prepare.build = toy.build
    models.BACKBONES["toy"] = toy.Backbone
    configure.from_command_line = lambda argv: (toy.config(**changes), workdir)
    return guarded(command.run, [])


if __name__ == "__main__":
    sys.exit(main())
