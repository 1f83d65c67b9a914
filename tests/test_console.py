"""The console script: it lists its commands, suggests the right one, and hands arguments and status through."""

import importlib
import subprocess
import sys
import tomllib

import pytest

from ltjax.__main__ import COMMANDS, main
from ltjax.commands.prepare import command as prepare
from tests.shared import ROOT


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_without_a_command_all_are_listed_with_a_line_each(arguments, capsys):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {name:<8}  {command.summary}\n" in printed for name, command in COMMANDS.items())
    assert set(COMMANDS) == {
        "train",
        "evaluate",
        "predict",
        "export",
        "demo",
        "report",
        "table",
        "tune",
        "compare",
        "check",
        "prepare",
        "dryrun",
        "bench",
    }


def test_an_unknown_command_gets_a_suggestion(capsys):
    assert main(["trian", "--config=x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown command 'trian' (did you mean 'train'?); allowed: train, ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gets_the_arguments_and_gives_the_status(name, monkeypatch):
    given = []
    module = importlib.import_module(COMMANDS[name].module)
    monkeypatch.setattr(module, "main", lambda argv: given.append(argv) or 7)
    assert main([name, "--json=x", "y"]) == 7 and given == [["--json=x", "y"]]


def test_commands_start_jax_only_when_they_need_it():
    """``--help``, ``--list`` and a mistyped flag answer at once, and CPU flags are set before JAX reads them."""
    modules = ["ltjax.__main__", *(command.module for command in COMMANDS.values())]
    code = "import importlib, sys; [importlib.import_module(m) for m in sys.argv[1:]]; print('jax' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=True, cwd=ROOT)
    assert made.stdout == "False\n"


def test_prepare_chooses_what_is_prepared(capsys, monkeypatch):
    for kind, module in prepare.KINDS.items():
        given = []
        monkeypatch.setattr(importlib.import_module(module), "main", lambda argv, given=given: given.append(argv) or 3)
        assert prepare.main([kind, "--out=x"]) == 3 and given == [["--out=x"]]
    assert prepare.main([]) == 0 and "ltjax prepare cifar-npz" in capsys.readouterr().out
    assert prepare.main(["shard"]) == 2 and "did you mean 'shards'?" in capsys.readouterr().err


def test_prepare_without_a_word_makes_shards(capsys):
    assert main(["prepare", "--folder=x"]) == 2
    assert "required: --out" in capsys.readouterr().err


def test_the_script_is_declared_and_the_module_runs():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"ltjax": "ltjax.__main__:main"}
    done = subprocess.run([sys.executable, "-m", "ltjax", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("usage: ltjax COMMAND")


def test_listing_the_commands_loads_none_of_them():
    code = "import sys, ltjax.__main__ as m; m.main([]); print('jax' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_a_command_is_named_as_it_was_started(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/ltjax", "evaluate"])
    assert main(["evaluate"]) == 2
    assert "see ltjax evaluate --help" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["ltjax/evaluate.py"])
    assert main(["evaluate"]) == 2
    assert "see python -m ltjax.evaluate --help" in capsys.readouterr().err


def test_bench_lists_its_benchmarks(capsys):
    assert main(["bench", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in ("losses", "step", "scale")) and "usage:" in printed
    assert main(["bench", "stpe"]) == 2 and "did you mean 'step'?" in capsys.readouterr().err
