"""Every notebook, its cells run one after the other in a process of its own, with an epoch where it says how many."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.shared import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What IPython brings, and what a line that begins with "!" becomes: its {names} are filled in, and it must succeed.
PRELUDE = """
import subprocess, sys, types
shown = []
display = types.ModuleType("IPython.display")
display.Image, display.display = (lambda data, **_: data), shown.append
sys.modules |= {"IPython": types.ModuleType("IPython"), "IPython.display": display}
def shell(line):
    words = [sys.executable if word == "python" else word for word in line.split()]
    done = subprocess.run(words, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, (line, done.stderr)
"""


def program(path):
    """The code cells as one Python program."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    return PRELUDE + re.sub(r"(?m)^!(.*)$", lambda line: f"shell(f{line[1]!r})", text)


def test_there_is_one():
    assert [path.name for path in NOTEBOOKS] == ["quickstart.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_its_code_is_python(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    compile(program(path), path.name, "exec")


def test_the_quickstart_runs_and_shows_what_it_says(tmp_path):
    pytest.importorskip("mlxtend")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    ends = "\nassert len(shown) == 2 and all(one.startswith(b'\\x89PNG') for one in shown), shown\n"
    ends += "assert few['balanced softmax'] > few['cross-entropy'] + 0.1, few\n"
    code, changed = re.subn(r"(?m)^EPOCHS = \d+$", "EPOCHS = 1", program(NOTEBOOKS[0]) + ends)
    assert changed == 1
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    named = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("runs/notebook/digits")]
    assert len(named) == 10 and named[0][0] == "runs/notebook/digits/a 0.png"
