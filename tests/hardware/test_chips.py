"""The table of chips, and the names of slices."""

import re

import pytest

from ltjax.dryrun import devices
from ltjax.errors import InputError
from ltjax.hardware import chips, gpus

ALL = [slices.chip for slices in chips.TPUS.values()] + list(chips.GPUS.values())


@pytest.mark.parametrize("chip", ALL, ids=[chip.name for chip in ALL])
def test_a_chip_has_all_numbers_and_their_source(chip):
    assert set(chip.flops) == {"bfloat16", "float32"}
    assert 1e14 < min(chip.flops.values()) <= chip.flops["bfloat16"] < 2.5e15
    assert 15e9 < chip.memory < 200e9 and 8e11 < chip.bandwidth < 9e12 and 2e11 <= chip.interconnect < 1e12
    assert chip.source


def test_slices_have_the_dimensions_of_their_interconnect():
    for name in ("v5e", "v6e"):
        assert [chips.find(f"{name}:{shape}")[1] for shape in ("1x1", "4x8", "16x16")] == [(1, 1), (4, 8), (16, 16)]
    for name in ("v4", "v5p"):
        assert [chips.find(f"{name}:{shape}")[1] for shape in ("2x2x1", "4x4x12")] == [(2, 2, 1), (4, 4, 12)]


@pytest.mark.parametrize(
    "topology",
    ["v5e", "v5e:", "v5e:3x3", "v5e:4x4x4", "v4:4x4", "v4:8x4x4", "v4:16x16x32", "v9:2x2", "4x4", "v5e:4x-4", "h300:1"],
)
def test_what_is_no_slice_is_named_with_those_that_are(topology):
    with pytest.raises(InputError, match=r"--topology: .*v4:2x2x1.*v5e:1x1, .*16x16.*v5p:.*v6e:.*h200.*:1 to :8"):
        chips.find(topology)


@pytest.mark.parametrize("topology", ["cpu:", "cpu:0", "cpu:x", "cpu:-1"])
def test_a_number_of_cpu_devices_is_checked(topology):
    with pytest.raises(InputError, match="cpu:N"):
        devices.prepare(topology)


@pytest.mark.parametrize("topology", ["h200", "h200:", "h200:0", "b200:9", "h100:x", "a100:-1", "h200:1x1", "h200:²"])
def test_a_number_of_gpus_is_checked(topology):
    with pytest.raises(InputError, match=r"--topology: impossible '.*'; allowed: (\w+):1 to \1:8") as error:
        devices.prepare(topology)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", gpus.TARGETS)
def test_the_compiler_is_given_the_peak_rates_of_the_chip(name):
    """Multiprocessors, tensor cores and clock against the published product; and the memory that the chip has."""
    gpu = gpus.TARGETS[name]
    assert gpu.chip is chips.GPUS[chips.MACHINES[name]] and chips.of_kind(gpu.kind) is gpu.chip
    rate = gpu.processors * 4 * 2 * gpu.tensor * gpu.tensor_clock * 1e9
    assert rate == pytest.approx(gpu.chip.flops["bfloat16"], rel=0.01)
    assert gpu.chip.memory <= gpu.memory * 2**20 < 1.1 * gpu.chip.memory
    text = gpus.target_config(gpu)
    assert text.count("{") == text.count("}") and f"core_count: {gpu.processors}\n" in text


def versions(monkeypatch, **known):
    def version(package):
        if package not in known:
            raise devices.importlib.metadata.PackageNotFoundError
        return known[package]

    monkeypatch.setattr(devices.importlib.metadata, "version", version)


@pytest.mark.parametrize(
    "installed, words",
    [
        ({}, "not installed: pip install 'ltjax[gpu-compiler]'"),
        ({"jax-cuda12-plugin": "0.12.0"}, "not installed: pip install 'ltjax[gpu-compiler]'"),  # without its other half
        (
            {"jax-cuda12-plugin": "0.12.0", "jax-cuda12-pjrt": "0.11.0"},
            "jax-cuda12-pjrt 0.11.0 is not the one of jax",
        ),
        (
            {"jax-cuda13-plugin": "0.11.0", "jax-cuda13-pjrt": "0.11.0"},
            "jax-cuda13-plugin 0.11.0 is not the one of jax",
        ),
    ],
)
def test_without_the_compiler_of_this_jaxlib_the_extra_is_named(monkeypatch, installed, words):
    versions(monkeypatch, jaxlib="0.12.0", **installed)
    with pytest.raises(InputError, match=re.escape(words)) as error:
        devices.prepare("h200:1")
    assert "pip install 'ltjax[gpu-compiler]'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["jax-cuda12", "jax-cuda13"])
def test_the_compiler_of_either_cuda_is_taken(monkeypatch, name):
    versions(monkeypatch, jaxlib="0.12.0", **{f"{name}-plugin": "0.12.0", f"{name}-pjrt": "0.12.0"})
    monkeypatch.setattr(devices.os, "environ", {})
    devices.prepare("h200:8")
    assert devices.os.environ["JAX_PLATFORMS"] == "cpu"


def test_without_the_compiler_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ltjax\[tpu\]'"):
        devices.prepare("v5e:4x4")


def test_without_an_accelerator_a_topology_is_asked_for():
    with pytest.raises(InputError, match=r"--topology is missing.*--topology=v5e:4x4.*--topology=h200:1"):
        devices.open_slice(devices.LOCAL)
