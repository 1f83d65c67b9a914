"""With what the base install has, jax and numpy, every command says in one line what to install."""

import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import pytest

import ltjax
from ltjax.__main__ import COMMANDS

ROOT = pathlib.Path(ltjax.__file__).resolve().parent.parent
CALLS = {
    "train": "--config=configs/mnist5k_reslt.py --workdir=run",
    "evaluate": "--run=run",
    "predict": "--run=run --out=out.csv a.jpg",
    "export": "--run=run --out=out",
    "demo": "--run=run",
    "table": "--root=table --table=reslt:3 --list",
    "tune": "--config=configs/mnist5k_reslt.py --study=study --trials=1 --space=space.toml",
    "compare": "run",
    "report": "--run=run",
    "check": "--folder=.",
    "prepare": "shards --folder=photos --out=out",
    "dryrun": "--config=configs/mnist5k_reslt.py",
    "bench": "step --config=configs/mnist5k_reslt.py",
}
RUN = """
import contextlib, importlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
    try:
        status = importlib.import_module(sys.argv[1]).main(sys.argv[2:])
    except SystemExit as end:
        status = end.code
json.dump([status, out.getvalue(), err.getvalue()], sys.stdout)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with ltjax, the packages that it requires, and theirs: all that there is to import beside Python's."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "ltjax").symlink_to(pathlib.Path(ltjax.__file__).parent)
    (folder / "configs").symlink_to(ROOT / "configs")
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        (folder / "photos" / name / "1.png").write_bytes(b"no image")
    wanted, seen = ["jax", "numpy"], set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files if not file.parts[0].startswith(("..", "__"))}:
            if not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))
        required = [one for one in distribution.requires or [] if "extra ==" not in one]
        wanted += [re.match(r"[\w.-]+", one)[0] for one in required]
    return folder


def call(base, command, argv):
    """(exit status, stdout, stderr) of a command's main."""
    run = subprocess.run(
        [sys.executable, "-S", "-c", RUN, command, *argv.split()],
        env={"PYTHONPATH": str(base), "JAX_PLATFORMS": "cpu", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=base, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_every_command_is_called():
    assert CALLS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", CALLS)
def test_a_command_says_what_to_install(base, command):
    status, _, err = call(base, COMMANDS[command].module, CALLS[command])
    assert status == 2 and err.count("\n") == 1 and "pip install" in err and "Traceback" not in err, err
