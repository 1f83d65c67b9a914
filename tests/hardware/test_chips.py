"""The table of chips, and the names of slices."""

import pytest

from ltjax.dryrun import devices
from ltjax.errors import InputError
from ltjax.hardware import chips

ALL = [slices.chip for slices in chips.TPUS.values()] + list(chips.GPUS.values())


@pytest.mark.parametrize("chip", ALL, ids=[chip.name for chip in ALL])
def test_a_chip_has_all_numbers_and_their_source(chip):
    assert set(chip.flops) == {"bfloat16", "float32"}
    assert 1e14 < min(chip.flops.values()) <= chip.flops["bfloat16"] < 1e15
    assert 15e9 < chip.memory < 150e9 and 8e11 < chip.bandwidth < 5e12 and 2e11 <= chip.interconnect < 1e12
    assert chip.source


def test_slices_have_the_dimensions_of_their_interconnect():
    for name in ("v5e", "v6e"):
        assert [chips.find(f"{name}:{shape}")[1] for shape in ("1x1", "4x8", "16x16")] == [(1, 1), (4, 8), (16, 16)]
    for name in ("v4", "v5p"):
        assert [chips.find(f"{name}:{shape}")[1] for shape in ("2x2x1", "4x4x12")] == [(2, 2, 1), (4, 4, 12)]


@pytest.mark.parametrize(
    "topology",
    ["v5e", "v5e:", "v5e:3x3", "v5e:4x4x4", "v4:4x4", "v4:8x4x4", "v4:16x16x32", "v9:2x2", "4x4", "v5e:4x-4"],
)
def test_what_is_no_slice_is_told_with_those_that_are(topology):
    with pytest.raises(InputError, match=r"--topology: .*v4:2x2x1.*v5e:1x1, .*16x16.*v5p:.*v6e:"):
        chips.find(topology)


@pytest.mark.parametrize("topology", ["cpu:", "cpu:0", "cpu:x", "cpu:-1"])
def test_a_number_of_cpu_devices_is_checked(topology):
    with pytest.raises(InputError, match="cpu:N"):
        devices.prepare(topology)


def test_without_the_compiler_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ltjax\[tpu\]'"):
        devices.prepare("v5e:4x4")


def test_without_an_accelerator_a_topology_is_asked_for():
    with pytest.raises(InputError, match=r"--topology is missing.*--topology=v5e:4x4"):
        devices.open_slice(devices.LOCAL)
