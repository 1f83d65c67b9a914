"""The CPU's compiler flags: only where XLA knows them, never over the user's own, never on import."""

import subprocess
import sys

import pytest

from ltjax.training import devices

FLAGS = [f"{name}={value}" for name, value in devices.CPU_FLAGS.items()]
FLAG = " ".join(FLAGS)


@pytest.fixture
def set_up(monkeypatch):
    """A machine with these variables, jaxlib version and installed accelerator plugins."""

    def make(version="0.10.2", plugins=(), tpu=False, **variables):
        for name in ("XLA_FLAGS", "JAX_PLATFORMS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(devices, "_installed", lambda name: name in plugins)
        monkeypatch.setattr(devices, "_has_tpu", lambda: tpu)
        monkeypatch.setattr(devices.importlib.metadata, "version", lambda name: version)
        devices.prepare_cpu()
        return devices.os.environ.get("XLA_FLAGS")

    return make


def test_the_flag_is_added_to_the_users_own(set_up):
    assert set_up() == FLAG
    assert set_up(XLA_FLAGS="--xla_force_host_platform_device_count=8") == (
        f"--xla_force_host_platform_device_count=8 {FLAG}"
    )


def test_the_tpu_compiler_alone_is_no_tpu(set_up):
    assert set_up(plugins=("libtpu",)) == FLAG


@pytest.mark.parametrize(
    "machine",
    [
        {"version": "0.11.0"},  # XLA aborts on a flag that it does not know
        {"version": "0.9.2"},
        {"plugins": ("jax-cuda12-plugin",)},
        {"plugins": ("libtpu",), "tpu": True},
        {"JAX_PLATFORMS": "tpu"},
    ],
)
def test_elsewhere_nothing_is_set(set_up, machine):
    assert set_up(**machine) is None


def test_the_users_own_value_stays(set_up):
    for i, name in enumerate(devices.CPU_FLAGS):
        assert set_up(XLA_FLAGS=f"{name}=own") == f"{name}=own {FLAGS[1 - i]}"


def test_importing_sets_nothing():
    code = "import os, ltjax.main, ltjax.training.devices, ltjax.training.loop; print(os.environ.get('XLA_FLAGS'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": "/usr/bin"})
    assert done.stdout.strip() == "None", done.stderr
