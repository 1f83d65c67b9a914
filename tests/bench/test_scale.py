"""The scaling benchmark: tables from numbers of dry runs, and one measured step on simulated devices."""

import json

import pytest

from ltjax.bench import scale
from ltjax.bench.__main__ import main


def numbers(topology, chips, fits=True):
    train = {
        "memory_bytes": {"together": 2**30}, "seconds_at_least": {"binds": "memory"},
        "images_per_second_at_most": 1000.0 * chips,
    }  # fmt: skip
    return {
        "topology": topology, "chips": chips, "batch_size": 256, "fits": fits, "programs": [train],
        "hours_at_least": 64 / chips, "chip_hours_at_least": 64.0,
    }  # fmt: skip


@pytest.fixture
def dry_runs(monkeypatch):
    asked = []

    def run(topology, options):
        asked.append(topology)
        return numbers(topology, scale.chips(topology), fits=topology != "v5e:2x2")

    monkeypatch.setattr(scale, "dry_run", run)
    return asked


def test_a_line_for_every_slice_with_its_chip_hours(dry_runs, tmp_path, capsys):
    path = tmp_path / "scale.json"
    command = ["scale", "--topologies", "v5e:2x2", "v5e:4x4", "v5e:8x8", "--devices", "--json", str(path)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "not measured" in lines[0] and "cost" not in lines[1]
    assert lines[2].split()[:4] == ["v5e:2x2", "4", "256", "64"] and "does not fit" in lines[2]
    assert lines[4].split() == ["v5e:8x8", "64", "256", "4", "1,024", "memory", "64,000", "1,000", "1.00", "64.0"]
    assert [run["topology"] for run in json.loads(path.read_text())["dry_runs"]] == dry_runs


def test_a_cost_needs_a_price(dry_runs, capsys):
    assert main(["scale", "--topologies", "v5e:4x4", "--devices", "--price", "0.5"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[-2:] == ["64.0", "32.00"]


@pytest.mark.parametrize(
    "options, message",
    [
        ("--price x", "impossible value 'x'; allowed: a number >= 0"),
        ("--price nan", "impossible value 'nan'"),
        ("--devices 3", "--batch: 64 is not a multiple of 3 devices"),
        ("--devices 0", "impossible value '0'"),
        ("--topologies v5e:3x3 --devices", "v5e has no slice '3x3'"),
    ],
)
def test_mistakes_are_one_line(options, message, capsys):
    assert main(["scale", *options.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_step_is_measured_on_simulated_devices(capsys):
    assert main(["scale", "--topologies", "--devices", "2", "--batch", "4", "--repeats", "1"]) == 0
    out = capsys.readouterr().out
    assert "share" in out and out.splitlines()[-1].split()[::2] == ["2", "1.00", "1.00"]
