"""The benchmarks of the input: both sides make the same images and draw equally often, and the checks can fail."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from ltjax.bench import input as inputs
from ltjax.bench import measure, memory, sampler
from ltjax.bench.__main__ import main
from ltjax.bench.peers import input as peer_input
from ltjax.data.augment.crops import Box

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch, the peer of the benchmarks, is not installed"
)
INPUT = "input --batch 2 --batches 1 --repeats 1 --workers 0 --images 3"


def run(command, path, capsys):
    assert main([*command.split(), "--json", str(path)]) == 0, capsys.readouterr().err
    return capsys.readouterr().out, json.loads(path.read_text())


@needs_torch
def test_input_compares_with_pytorch(tmp_path, capsys):
    printed, record = run(f"{INPUT} --augment crop32_flip crop32_flip_jitter", tmp_path / "input.json", capsys)
    assert [result["augment"] for result in record["results"]] == ["crop32_flip", "crop32_flip_jitter"]
    for result in record["results"]:
        assert 0 < result["pixel_difference"] < inputs.TOLERANCE
        (core,) = result["workers"].values()
        assert set(core["sides"]) == {"ltjax", "torch, uint8", *peer_input.installed_ways()}
        assert core["speed_relative_to"]["torch"] > 0
    assert "1 core: torch" in printed and 10 < record["file_kB"] < 200


@pytest.mark.slow
def test_numbers_of_workers_take_turns_and_are_compared_with_the_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "torch_installed", lambda: False)
    options = f"{INPUT} --augment crop32_flip".replace(
        "--repeats 1 --workers 0 --images 3", "--repeats 2 --workers 1 2 --images 6"
    )
    printed, record = run(options, tmp_path / "input.json", capsys)
    found = record["results"][0]["workers"]
    assert list(found) == ["0", "1", "2"] and "2 workers: ltjax" in printed and "to 1 worker" in printed
    for number, block in found.items():
        assert len(block["sides"]["ltjax"]["ms"]) == 2 and set(block["worker_MB"]) == (
            {"ltjax"} if number > "0" else set()
        )
    one, two = (np.array(found[number]["sides"]["ltjax"]["ms"]) for number in "12")
    assert found["2"]["speed_relative_to_first"]["ltjax"] == pytest.approx(np.median(one / two))
    held = found["2"]["worker_MB"]["ltjax"]
    assert 0 < held["share"] <= held["now"] <= held["peak"]


@needs_torch
@pytest.mark.parametrize("options", ["--format png", "--format webp", "--fast-decode"])
def test_input_reads_other_formats_and_sizes(tmp_path, capsys, options):
    printed, record = run(f"{INPUT} {options} --size 300x200 --augment crop32_flip", tmp_path / "input.json", capsys)
    assert record["results"][0]["pixel_difference"] < inputs.FAST_TOLERANCE and "images/s" in printed
    assert record["options"]["size"] == [300, 200]


@needs_torch
def test_input_notices_different_images(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(peer_input, "random_box", lambda height, width, draws: Box(0, 0, height, width))
    inputs.make_photographs(str(tmp_path), 2)
    assert main(f"{INPUT} --folder {tmp_path} --augment crop32_flip".split()) == 1
    assert "the pixels differ by" in capsys.readouterr().err


def test_the_memory_of_workers_is_that_of_the_largest_processes():
    """30 MB stay, so that it is larger than what earlier tests leave, such as multiprocessing's own processes."""
    code = "held = bytearray(60_000_000); del held; held = bytearray(30_000_000); print('ready', flush=True); "
    code += "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        (worker,) = memory.held_by_workers(1)
        assert 30 < worker.share <= worker.now < 60 < worker.peak < 100
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--augment pad_crop", "'pad_crop' does not crop whole images"),
        ("--augment crop32_flop", "unknown value 'crop32_flop'"),
        ("--folder EMPTY", "no .jpg or .jpeg file in"),
        ("--folder EMPTY --format png", "no .png file in"),
        ("--size 500", "impossible value '500'; write WIDTHxHEIGHT"),
    ],
)
def test_bad_options_are_one_line(tmp_path, capsys, options, says):
    assert main(f"{INPUT} {options.replace('EMPTY', str(tmp_path))}".split()) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@needs_torch
def test_sampler_compares_with_pytorch(tmp_path, capsys):
    command = "sampler --sizes 2000 4000 --classes 10 --batches 2 --batch 16 --largest-lists 3000"
    printed, record = run(command, tmp_path / "sampler.json", capsys)
    assert list(record["results"]) == ["2000", "4000"]
    for found in record["results"]["2000"].values():
        assert set(found) == {"first_batch_s", "held_MB", "batch_us"}
    assert record["results"]["4000"]["class-aware, lists"].startswith("not run: lists of 4,000 records")
    assert "check: all sides draw the 10 classes equally often" in printed


def test_a_failure_of_torch_is_reported(monkeypatch):
    def too_many(labels, classes, batch, batches):
        def make():
            raise RuntimeError("number of categories cannot exceed 2^24\nmore")

        return {"torch, WeightedRandomSampler": make}

    monkeypatch.setattr(sampler, "make_sides", too_many)
    options = sampler.parse(["--classes", "2"])
    found = sampler.measure_size(1000, options)
    assert found == {"torch, WeightedRandomSampler": "RuntimeError: number of categories cannot exceed 2^24"}


def test_sampler_notices_a_class_that_is_drawn_too_often(monkeypatch):
    def uneven(labels, classes, batch, batches):
        return {"class-balanced": lambda: iter([np.flatnonzero(labels == 0)[:1].repeat(batch)])}

    monkeypatch.setattr(sampler, "make_sides", uneven)
    with pytest.raises(measure.Disagreement, match="class-balanced draws a class"):
        sampler.check(2000, 10)


def test_labels_fall_geometrically_by_a_hundred():
    counts = np.bincount(sampler.long_tailed(100_000, 50))
    assert (
        counts.sum() == 100_000 and (np.diff(counts) <= 1).all() and counts[0] / counts[-1] == pytest.approx(100, 0.05)
    )
