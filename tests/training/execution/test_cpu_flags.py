"""The CPU's settings: flags only where XLA knows them, nothing over the user's own, nothing on import."""

import fnmatch
import subprocess
import sys

import jaxlib
import pytest

from ltjax.training.execution import cpu_flags, devices
from tests.shared import ROOT

FLAGS = [f"{name}={value}" for name, value in cpu_flags.flags_of("0.10.2").items()]
FLAG = " ".join(FLAGS)


@pytest.fixture
def set_up(monkeypatch):
    """A machine with these variables, jaxlib version and installed accelerator plugins."""
    kept = []

    def make(version="0.10.2", plugins=(), files=(), **variables):
        for name in ("XLA_FLAGS", "JAX_PLATFORMS", *cpu_flags.MEMORY_VARIABLES):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(cpu_flags, "installed", lambda name: name in plugins)
        monkeypatch.setattr(cpu_flags.glob, "glob", lambda pattern: fnmatch.filter(files, pattern))
        monkeypatch.setattr(cpu_flags.importlib.metadata, "version", lambda name: version)
        monkeypatch.setattr(cpu_flags, "_keep_memory", lambda: kept.append(True))
        monkeypatch.setattr(cpu_flags.sys, "modules", {})  # JAX is not there yet
        cpu_flags.prepare_cpu()
        return cpu_flags.os.environ.get("XLA_FLAGS")

    make.kept = kept
    return make


def test_the_flag_is_added_to_the_users_own(set_up):
    assert set_up() == FLAG
    assert set_up(XLA_FLAGS="--xla_force_host_platform_device_count=8") == (
        f"--xla_force_host_platform_device_count=8 {FLAG}"
    )


@pytest.mark.parametrize(
    "plugins, files",
    [
        (("libtpu",), ()),
        (("jax-cuda12-plugin",), ()),
        (("jax-cuda13-plugin",), ("/dev/nvidiactl", "/dev/kfd")),  # the driver without a GPU; another maker's GPU
        (("jax-rocm7-plugin",), ("/dev/nvidia0",)),
        ((), ("/dev/nvidia0", "/dev/dxg", "/dev/kfd", "/dev/accel0")),  # a GPU that JAX has no plugin for
    ],
)
def test_a_compiler_alone_is_no_accelerator(set_up, plugins, files):
    assert set_up(plugins=plugins, files=files) == FLAG
    # JAX does not look for a GPU: its plugin would print a trace
    gpu = any(name.startswith("jax-") for name in plugins)
    assert cpu_flags.os.environ.get("JAX_PLATFORMS") == ("cpu" if gpu else None)


@pytest.mark.parametrize(
    "machine",
    [
        {"version": "0.9.2"},  # XLA aborts on a flag that it does not know
        {"version": "0.13.0"},
        {"version": "1.10.0"},
        {"version": "unknown"},
        {"plugins": ("jax-cuda12-plugin",), "files": ("/dev/nvidia0",)},
        {"plugins": ("jax-cuda13-plugin",), "files": ("/dev/dxg",)},
        {"plugins": ("jax-rocm60-plugin",), "files": ("/dev/kfd",)},
        {"plugins": ("libtpu",), "files": ("/dev/vfio/0",)},
        {"JAX_PLATFORMS": "tpu"},
    ],
)
def test_elsewhere_nothing_is_set(set_up, machine):
    assert set_up(**machine) is None
    assert bool(set_up.kept) == ("version" in machine)  # what the C library does is no matter of XLA's version


def test_the_users_own_value_stays(set_up):
    for i, name in enumerate(cpu_flags.flags_of("0.10.2")):
        assert set_up(XLA_FLAGS=f"{name}=own") == " ".join([f"{name}=own", *FLAGS[:i], *FLAGS[i + 1 :]])
    assert len(set_up.kept) == len(FLAGS)
    set_up(MALLOC_MMAP_MAX_="5")
    set_up(GLIBC_TUNABLES="glibc.malloc.trim_threshold=5")
    assert len(set_up.kept) == len(FLAGS)


@pytest.mark.parametrize("version", cpu_flags.CPU_FLAGS)
def test_each_version_has_its_own_flags(set_up, version):
    flags = cpu_flags.CPU_FLAGS[version]
    for spelled in (
        f"{version[0]}.{version[1]}.0",
        f"{version[0]}.{version[1]}.0.1",
        f"{version[0]}.{version[1]}.3.dev1",
    ):
        assert set_up(version=spelled) == " ".join(f"{name}={value}" for name, value in flags.items())
    assert (cpu_flags.BARRIERS in flags) == (version == (0, 10))  # they cost time later
    assert flags[cpu_flags.YNN] == "dot,reduce"  # no convolutions: weight gradients would be slow


def test_the_installed_jaxlib_takes_its_flags(monkeypatch):
    flags = cpu_flags.flags_of(jaxlib.__version__)
    monkeypatch.setenv("XLA_FLAGS", " ".join(f"{name}={value}" for name, value in flags.items()))
    devices._check_flags.__wrapped__(cpu_flags.os.environ["XLA_FLAGS"])  # raises if XLA does not take them


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_stays_with_the_process():
    code = """
import resource, sys, threading
import numpy as np
from ltjax.training.execution.cpu_flags import _keep_memory
if sys.argv[1] == "keep":
    _keep_memory()
def steps():
    np.ones(2**24); before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(2**24)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=steps)  # XLA's steps, too, take their memory in a thread of their own
thread.start(); thread.join()
"""
    run = [[sys.executable, "-c", code, how] for how in ("keep", "leave")]
    environment = {
        "PATH": "/usr/bin",
        "PYTHONPATH": str(ROOT),
        "NUMPY_MADVISE_HUGEPAGE": "0",
    }
    keep, leave = (int(subprocess.run(r, capture_output=True, text=True, env=environment).stdout) for r in run)
    assert keep < leave / 10  # page faults of ten arrays of 128 MB, more than an arena holds


def test_importing_sets_nothing():
    modules = "os, ltjax.main, ltjax.training.execution.cpu_flags, ltjax.training.loop"
    code = f"import {modules}; print(os.environ.get('XLA_FLAGS'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": "/usr/bin"})
    assert done.stdout.strip() == "None", done.stderr
