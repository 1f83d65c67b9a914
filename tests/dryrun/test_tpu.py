"""The real TPU compiler on TPU slices that need not exist: the command on a toy, and the communication of its step.

libtpu is not among the tests' packages, for JAX on a machine that has it and no TPU complains on stderr. The tests take
it where it is installed, or from the folder that LTJAX_LIBTPU names (`pip install --no-deps --target DIR libtpu`); its
compiler runs in a process of its own.
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.shared import ROOT

FOLDER = os.environ.get("LTJAX_LIBTPU", "")
pytestmark = pytest.mark.skipif(
    not (FOLDER and (pathlib.Path(FOLDER) / "libtpu").is_dir()) and importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed, nor in a folder named by LTJAX_LIBTPU: pip install --target DIR libtpu",
)
# A config file for the command, and the toy's parts where the command finds them.
CONFIG = """
from tests.training import toy

def get_config(arg=None):
    return toy.recipe("two", batch_size=16, epochs=1, evaluation__batch_size=32)
"""
COMMAND = """
import sys
from ltjax.dryrun import __main__ as command, devices
devices.prepare("v5e:4x4")  # before the toy starts JAX
from ltjax import models
from ltjax.dryrun import plan
from ltjax.methods import METHODS
from tests.training import toy
plan.find_data = toy.build
METHODS["two"] = lambda config, settings, data: toy.three_stages(config, settings, data)[:2]
models.BACKBONES["toy"] = toy.Backbone
config, numbers, *topologies = sys.argv[1:]
for topology in topologies:
    arguments = [f"--config={config}", f"--topology={topology}", "--no-largest", f"--json={numbers}/{topology}.json"]
    status = command.main(arguments + (["--stage=first"] if topology != topologies[0] else []))
    assert status == 0, (topology, status)
assert command.main([f"--config={config}", "--topology=v5e:4x4", "--config.batch_size=17"]) == 2
"""


def dry_run(tmp_path, *topologies):
    (tmp_path / "toy_config.py").write_text(CONFIG)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [FOLDER])])}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, str(tmp_path / "toy_config.py"), str(tmp_path), *topologies],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, [json.loads((tmp_path / f"{topology}.json").read_text()) for topology in topologies]


def test_a_small_model_compiles_for_a_4x4_slice(tmp_path):
    done, (numbers,) = dry_run(tmp_path, "v5e:4x4")
    assert (numbers["chips"], numbers["hosts"], numbers["chip"]) == (16, 4, "TPU v5e")
    assert numbers["fits"] and "fits: at most" in done.stdout and numbers["compiler"].startswith("libtpu")
    assert [(one["kind"], one["stage"]) for one in numbers["programs"]] == [
        ("train", "first"), ("train", "second"), ("evaluation", "second"),
    ]  # fmt: skip
    for one in numbers["programs"]:
        assert 0 < one["memory_bytes"]["together"] < 2**27 and one["flops"] > 0 and one["seconds_at_least"]["step"] > 0
        # Gradients, batch statistics and weighted means are summed over all chips; there is no other communication.
        assert {(c["kind"], c["devices"]) for c in one["collectives"]} == {("all-reduce", 16)}
    first = numbers["programs"][0]
    parameters = 3 * 3 * 4 + 2 * 4 + 4 * 3 + 3
    sent = sum(c["bytes"] * c["count"] for c in first["collectives"])
    assert 4 * parameters + 2 * 4 * 4 <= sent <= 4 * parameters + 6 * 4 * 4 + 10 * 4
    assert "config.batch_size: 17 does not divide over 16 devices; nearest sizes: 16 or 32" in done.stderr


@pytest.mark.slow
def test_every_generation_compiles_and_a_device_is_a_chip(tmp_path):
    _, found = dry_run(tmp_path, "v4:2x2x1", "v5e:1x1", "v5p:2x2x1", "v5p:2x2x2", "v6e:2x4", "v6e:4x4")
    assert [one["chips"] for one in found] == [4, 1, 4, 8, 8, 16]
    assert [one["hosts"] for one in found] == [1, 1, 1, 2, 2, 4]
