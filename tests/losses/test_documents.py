"""The table of losses names each of them, and the benchmark runs."""

import inspect

import pytest

from ltjax import class_counts, classifiers, losses, metrics
from ltjax.bench.__main__ import main
from tests.losses import table
from tests.losses.catalogue import NOT_LOSSES, public_losses


def test_the_table_is_that_of_the_docstrings_and_has_every_loss():
    page = table.README.read_text()
    assert page == table.replaced(page), "python -m tests.losses.table"
    assert all(f"| `{name}` |" in page for name in public_losses())
    assert all(f"`{name}`" in page for name in NOT_LOSSES)


def functions_of(module):
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    found = [getattr(module, n) for n in names]
    return [f for f in found if inspect.isfunction(f) and f.__module__.startswith(module.__name__)]


PUBLIC = [f for module in (losses, classifiers, class_counts, metrics) for f in functions_of(module)]


@pytest.mark.parametrize("function", PUBLIC, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_every_docstring_says_what_one_needs(function):
    lines = inspect.getdoc(function).splitlines()
    assert lines[0].endswith((".", ":")) and (len(lines) == 1 or not lines[1])
    text = "\n".join(lines)
    assert "Example:" in text and ">>>" in text
    if function.__name__ in public_losses():
        assert "Raises:" in text or "Args, errors: as for" in text
        assert "Returns:" in text and "[" in text
        assert "Reference:" in text or function.__name__ in {"weighted_mean", "reslt_terms"}


@pytest.mark.slow
def test_the_benchmark_prints_a_line_for_each_loss_and_block_size(capsys):
    options = "--batch 8 --classes 5 --repeats 1 --graph-batch 12 --graph-width 4 --block-sizes 4 0"
    assert main(["losses", *options.split()]) == 0
    printed = capsys.readouterr().out
    for loss in ("cross_entropy", "focal_loss", "sigmoid_focal_loss", "balanced_softmax_loss", "ldam_loss"):
        line = next(line for line in printed.splitlines() if line.startswith(loss))
        assert float(line.split()[-1]) < 1e-5  # all peers compute the same
    assert "block_size      4" in printed
    assert "block_size   None" in printed


def test_an_unknown_benchmark_is_one_line(capsys):
    assert main(["lossy"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
