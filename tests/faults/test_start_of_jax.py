"""Devices that are not here and variables that JAX or XLA do not take: one line that names the variable."""

import os
import subprocess
import sys

import jaxlib
import pytest

from ltjax.commands import cli
from ltjax.errors import InputError
from ltjax.training.execution import devices
from tests.shared import ROOT

START = """
import sys
from ltjax.commands.cli import guarded, use_devices
sys.exit(guarded(lambda argv: use_devices("float32") or 0, []))
"""


def start(code=START, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | {"PYTHONPATH": str(ROOT)} | variables, cwd=ROOT,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


MISSING = {
    "a GPU": ({"JAX_PLATFORMS": "cuda"}, ["JAX_PLATFORMS=cuda", "installed here for: cpu", "pip install 'ltjax[gpu]'"]),
    "a truth value": ({"JAX_ENABLE_X64": "maybe"}, ["JAX_ENABLE_X64=maybe", "unset it"]),
}


@pytest.mark.skipif(devices.cpu_flags.has_accelerator(), reason="there is one")
@pytest.mark.parametrize("variables, words", MISSING.values(), ids=MISSING)
def test_a_start_that_fails_is_one_line(variables, words):
    done = start(**variables)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    for word in ["error: ", *words]:
        assert word in done.stderr


def raised(path, error):
    """The error as code of this file of JAX raises it."""
    try:
        exec(compile("def fail(error): raise error\nfail(error)", f"/site-packages/{path}", "exec"), {"error": error})
    except Exception as caught:
        return caught


BRIDGE, CONFIG = "jax/_src/xla_bridge.py", "jax/_src/config.py"
HELD = "Unable to initialize 'tpu': ABORTED: The TPU is already in use by process with pid 7. (set JAX_PLATFORMS=''"
# variables, installed packages, the error and its file -> words of the line; None: not explained
ERRORS = {
    "tpu": ({"JAX_PLATFORMS": "tpu"}, (), RuntimeError("no libtpu.so"), BRIDGE, ["no libtpu.so", "'ltjax[tpu]'"]),
    "held": (
        {"JAX_PLATFORMS": "tpu"}, ("libtpu",), RuntimeError(HELD), BRIDGE,
        ["in use by process with pid 7", "cpu, tpu;"],
    ),
    "misspelt": (
        {"JAX_PLATFORMS": "cdua"}, (), RuntimeError("x"), BRIDGE, ["'cdua' is no platform", "did you mean 'cuda'"],
    ),
    "rocm": ({"JAX_PLATFORMS": "rocm"}, (), RuntimeError("not known"), BRIDGE, ["JAX_PLATFORMS=rocm: not known"]),
    "hidden": (
        {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""}, ("jax-cuda12-plugin",), AssertionError(), BRIDGE,
        ["no such device is visible", "for: cpu, cuda;", "(CUDA_VISIBLE_DEVICES=)"],
    ),
    "unasked": ({}, ("jax-cuda12-plugin",), RuntimeError("cuInit"), BRIDGE, ["cuInit", "set JAX_PLATFORMS=cpu"]),
    "another error of JAX": ({}, (), RuntimeError("x"), "jax/_src/pjit.py", None),
    "a value that the code sets": ({}, (), ValueError('for JAX flag jax_num_cpu_devices'), CONFIG, None),
}  # fmt: skip


@pytest.mark.parametrize("variables, packages, error, path, words", ERRORS.values(), ids=ERRORS)
def test_what_is_asked_for_what_is_here_what_to_set(monkeypatch, variables, packages, error, path, words):
    for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES", "JAX_NUM_CPU_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(devices.cpu_flags, "installed", lambda name: name in packages)
    line = devices.explained(raised(path, error))
    if words is None:
        assert line is None
    else:
        assert line is not None and "\n" not in line
        for word in words:
            assert word in line


def test_other_errors_of_a_command_stay_traces():
    def fail(argv):
        raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="a fault of ours"):
        cli.guarded(fail, [])


FLAGS = {
    "--xla_nonsense=1": "Unknown flag",
    "--xla_backend_optimization_level=x": "interpret value x",
    "nofile": "nofile",
}


@pytest.mark.parametrize("flags, reason", FLAGS.items())
def test_flags_that_would_abort_the_process(monkeypatch, flags, reason):
    monkeypatch.setenv("XLA_FLAGS", flags)
    with pytest.raises(InputError, match=reason) as error:
        devices.check_xla_flags()
    assert "\n" not in str(error.value)


def test_known_flags_start_no_other_process(monkeypatch):
    monkeypatch.setattr(devices, "_check_flags", lambda flags: pytest.fail(flags))
    own = [f"{name}={value}" for name, value in devices.cpu_flags.flags_of(jaxlib.__version__).items()]
    monkeypatch.setenv("XLA_FLAGS", " ".join(["--xla_force_host_platform_device_count=8", *own]))
    devices.check_xla_flags()


NOTES = {
    "cuda,cpu": ({"JAX_PLATFORMS": "cuda,cpu"}, False, "JAX_PLATFORMS=cuda,cpu: no cuda device here"),
    "hidden": ({"CUDA_VISIBLE_DEVICES": ""}, True, "CUDA_VISIBLE_DEVICES is empty"),
    "none": ({}, False, ""),
    "the CPU as asked": ({"JAX_PLATFORMS": "cpu"}, True, ""),
}


@pytest.mark.parametrize("variables, plugin, note", NOTES.values(), ids=NOTES)
def test_a_run_on_the_cpu_that_was_not_asked_for_says_so(monkeypatch, variables, plugin, note):
    for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(devices.cpu_flags, "has_accelerator", lambda: plugin)
    found = devices.start_devices()
    assert note in found and bool(note) == bool(found)
