"""Errors that a user can mend are one line and a status; all others keep their traceback."""

import pytest

from ltjax.commands.cli import guarded
from ltjax.errors import InputError


@pytest.mark.parametrize(
    "error, status, line",
    [
        (InputError("config.x: no\n  good"), 2, "error: config.x: no good"),
        (ModuleNotFoundError("No module", name="flax.linen"), 2, "error: flax.linen is not installed; install it with"),
        (ImportError("gs:// needs gcsfs"), 2, "error: gs:// needs gcsfs"),
        (OSError(28, "No space left on device", "out/a"), 1, "error: out/a: No space left on device; run it again"),
        (FloatingPointError("loss is nan"), 1, "error: loss is nan; run it again"),
        (KeyboardInterrupt(), 130, "stopped by SIGINT; run it again"),
    ],
)
def test_an_error_that_a_user_can_mend_is_one_line(error, status, line, capsys):
    def fails(argv):
        raise error

    assert guarded(fails, [], unfinished="run it again") == status
    assert capsys.readouterr().err.strip().startswith(line)


def test_other_errors_keep_their_traceback():
    def fails(argv):
        raise ModuleNotFoundError("No module named 'mine'", name="mine")

    with pytest.raises(ModuleNotFoundError):
        guarded(fails, [])


def test_the_arguments_and_the_status_pass_through():
    assert guarded(lambda argv: len(argv), ["a", "b", "c"]) == 3
