"""Trains, resumes, evaluates and reports a run.

python -m ltjax.main --config=configs/mnist5k_reslt.py --workdir=runs/mnist5k_reslt [--config.KEY=VALUE ...]

A workdir with an unfinished run of this config is resumed. --resume=force continues one of another config, or on other
data, where its state fits.
"""

import sys
from collections.abc import Sequence
from typing import Any

from ltjax import escape
from ltjax.commands.cli import guarded, is_first_process, one_line, use_devices
from ltjax.errors import InputError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status (0 done, 1 failed, 2 bad input, 130 SIGINT, 143 SIGTERM)."""
    return guarded(run, argv)


def run(argv: Sequence[str]) -> int:
    if {"--help", "-h"} & set(argv):
        print((__doc__ or "") + "\nEvery setting with its meaning and default: --config=FILE --help-config")
        return 0
    from ltjax.methods.configure import from_command_line, help_config

    if "--help-config" in argv:
        print(help_config(argv))
        return 0
    force, argv = take_resume(argv)
    config, workdir = from_command_line(argv)
    use_devices(config.dtype)
    from ltjax.report import PAGE, format_table
    from ltjax.training.interrupt import Interrupted
    from ltjax.training.loop import train
    from ltjax.training.workdir.identity import absolute

    try:
        results = train(config, workdir, force)
    except Interrupted as interrupt:
        print(f"stopped by {interrupt}; the state is saved: run the same command to resume", file=sys.stderr)
        return interrupt.status
    if is_first_process():
        print(format_table(results), flush=True)
        # Made from the files, so that a run that was killed between its results and its report gets it now.
        page = report_or_line(absolute(workdir))
        if page is not None:
            print(f"report: {escape.terminal(str(page.parent / PAGE))}")
    return 0


def report_or_line(folder: Any) -> Any:
    """Writes the report of a finished run; None, after one line, if that fails: the result does not depend on it."""
    from ltjax.report import write_report

    try:
        return write_report(folder)
    except Exception as error:
        name = "" if isinstance(error, InputError | OSError) else f"{type(error).__name__}: "
        print(f"the report cannot be written: {name}{one_line(error)[:300]}", file=sys.stderr)
        return None


def take_resume(argv: Sequence[str]) -> tuple[bool, list[str]]:
    """(whether --resume=force is among the arguments, the others).

    Raises:
      InputError: for another value.

    Example:
      >>> take_resume(["--config=x.py", "--resume=force"])
      (True, ['--config=x.py'])
    """
    given = [word for word in argv if word.lstrip("-").partition("=")[0] == "resume" and word.startswith("-")]
    for word in given:
        if word.partition("=")[2] != "force":
            raise InputError(
                f"{word}: impossible value; allowed: --resume=force, which continues a run of another config (without "
                "it a run of this config resumes by itself)"
            )
    return bool(given), [word for word in argv if word not in given]


if __name__ == "__main__":
    sys.exit(main())
