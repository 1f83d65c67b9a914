"""The driver of `bench gpu`: what is in the JSON file after each variant, whatever the variant does."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from ltjax.bench import scan
from ltjax.bench.__main__ import main
from ltjax.bench.gpu import compile_only, driver, measurements, programs
from ltjax.bench.gpu.table import VARIANTS, Variant
from ltjax.dryrun import devices
from ltjax.dryrun.kernels import Kernels, Range
from ltjax.hardware.flops import matrix_flops
from tests.shared import ROOT

# Of the packages of ltjax[test], what a machine lacks that has jax, flax, optax, orbax-checkpoint and what these bring.
ABSENT = [
    *("cloudpickle", "cv2", "flatbuffers", "grain", "matplotlib", "ml_collections", "mlxtend", "PIL", "safetensors"),
    *("simplejpeg", "sklearn", "tabulate", "tensorboardX", "tensorflow", "tensorflow_datasets", "tqdm"),
]
WRITES = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('{\"ms\": 1.5}')"
CODE = {
    "good": WRITES,
    "fails": "print('Traceback'); print('ValueError: no such kernel'); raise SystemExit(1)",
    "silent": "pass",
    "slow": "print('compiling', flush=True); import time; time.sleep(60)",
    "last": WRITES,
}


def command(name, to):
    return [sys.executable, "-S", "-c", CODE[name], str(to)]


def variants(*names, seconds=20.0):
    return {name: Variant(1, 1.5 if name == "slow" else seconds, "program", "a test") for name in names}


def test_a_variant_that_fails_or_takes_too_long_is_one_line_and_the_rest_goes_on(tmp_path, capsys):
    path = tmp_path / "gpu.json"
    record = driver.run_all(variants(*CODE), command, 60, path, {"benchmark": "gpu"})
    assert json.loads(path.read_text()) == record and record["benchmark"] == "gpu"
    results = record["variants"]
    assert list(results) == list(CODE)
    assert results["good"]["ms"] == results["last"]["ms"] == 1.5 and "failed" not in results["good"]
    assert results["fails"]["failed"] == "exit status 1: ValueError: no such kernel"
    assert results["silent"]["failed"] == "wrote no record"
    assert results["slow"]["failed"] == "stopped after its 2 s; last line: compiling"
    assert results["slow"]["seconds"] < 30
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == list(CODE)


def test_no_variant_begins_after_the_time_is_over(tmp_path):
    path = tmp_path / "gpu.json"
    record = driver.run_all(variants("good", "last"), command, driver.LEAST - 1, path, {})
    assert all("--seconds are over" in one["skipped"] for one in record["variants"].values())


def test_a_command_that_is_stopped_leaves_what_it_had_and_no_process(tmp_path):
    path, pids = tmp_path / "gpu.json", tmp_path / "pid"
    waits = f"import os, time; open({str(pids)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = (
        "import pathlib, sys\n"
        "from ltjax.bench.gpu import driver\n"
        "from ltjax.bench.gpu.table import Variant\n"
        f"code = {{'good': {WRITES!r}, 'waits': {waits!r}}}\n"
        "run = lambda name, to: [sys.executable, '-S', '-c', code[name], str(to)]\n"
        "variants = {name: Variant(1, 60, 'program', '') for name in code}\n"
        f"driver.run_all(variants, run, 100, pathlib.Path({str(path)!r}), {{}})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (pids.exists() and pids.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    results = json.loads(path.read_text())["variants"]
    assert results["good"]["ms"] == 1.5 and results["waits"] == {"skipped": "not reached"}
    with pytest.raises(OSError):
        driver.os.kill(int(pids.read_text()), 0)


def test_every_variant_has_its_measurement_and_its_programs():
    for name, variant in VARIANTS.items():
        assert callable(getattr(measurements, variant.measurement)), name
        assert variant.measurement in compile_only.PROGRAMS, name


def test_what_is_compiled_without_a_device_is_what_a_device_runs():
    made = programs.training(programs.Setting(None, True), norm="unfused")
    images = np.zeros((1, *made.problem.data.image_shape), np.uint8)
    shapes = jax.eval_shape(lambda: made.problem.stage.network.init(jax.random.key(0), images, train=False))
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    records, length = scan.random_images(made.problem), made.length
    side = scan.OnDevice(made.problem, records, [zeros], steps=length, length=length, **made.fields)
    run = side.program.trace(side.state, {}, side.tables, side.resident, length)
    alone = compile_only.lower_training(made, programs.Setting(None, True, devices.open_slice("cpu:1")))
    for kind in ("in_avals", "out_avals"):  # the texts differ in how the arguments' devices are written
        here, there = ([(a.shape, a.dtype) for a in getattr(jaxpr, kind)] for jaxpr in (alone.jaxpr, run.jaxpr))
        assert here == there
    assert matrix_flops(alone.jaxpr) == matrix_flops(run.jaxpr) > 0


def test_programs_are_compiled_and_nothing_runs(monkeypatch):
    records = []
    monkeypatch.setattr(programs.SmallScan, "argument", None)  # would be needed to run it
    setting = programs.Setting(None, True, devices.open_slice("cpu:1"))
    compile_only.compile_variant(setting, "graphs", {}, lambda record: records.append(dict(record)))
    compile_only.compile_variant(setting, "versions", {}, records.append)
    assert records[0].keys() < records[1].keys() == records[2].keys() and records[3] == {"compiles": "nothing"}
    assert records[1]["with graphs: steps_per_call"] == 4 and records[1]["without graphs: compiled_in_s"] > 0


def test_what_a_step_launches_is_read_from_the_compilers_output():
    second = Range(1e-3, 2e-3)
    whole = Kernels({"fusions": 5.0}, {}, 0, 3, 1, True, False, 0, 0, 0, 0, 0, second, second, 0.0, Range(0, 0))
    found = programs.launches_of(whole)
    assert found["captured"] == "one graph a call" and found["kernels_per_step"] == 5
    assert found["modelled_ms_per_step"] == "1.00 to 2.00 / 1.00 to 2.00"
    parts = whole._replace(one_graph=False, graphs=2, host_loop=True, outside={"convolutions": 4.0})
    found = programs.launches_of(parts)
    assert found["captured"] == "2 per step, 1 per call; in no graph, a step: 4 convolutions"
    assert found["host_loops"] == "over steps"


def test_the_command_runs_variants_in_processes_of_their_own(tmp_path, capfd):
    path = tmp_path / "gpu.json"
    driver.main(["--tiny", "--variants", "versions", "--seconds", "300", "--json", str(path)])
    record = json.loads(path.read_text())
    assert record["random_images"] and "THE IMAGES ARE RANDOM" in capfd.readouterr().out
    versions = record["variants"]["versions"]
    assert versions["platform"] == "cpu" and "jaxlib" in versions["packages"]


@pytest.mark.parametrize(
    ("option", "says"),
    [("--data-dir", "config.data.dir: cifar100 is not in"), ("--compile-only", "--compile-only: unknown")],
)
def test_what_no_variant_could_use_is_one_line_before_the_first_begins(tmp_path, capsys, option, says):
    assert main(["gpu", option, str(tmp_path), "--json", str(tmp_path / "gpu.json")]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (tmp_path / "gpu.json").exists()


@pytest.fixture
def borrowed(tmp_path, monkeypatch):
    """Processes that a test starts have what a borrowed GPU has."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules |= dict.fromkeys({ABSENT})\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_runs_at_toy_size_with_what_a_borrowed_gpu_has(name, borrowed, tmp_path):
    path = tmp_path / "gpu.json"
    driver.main(["--tiny", "--variants", name, "--seconds", "900", "--json", str(path)])
    record = json.loads(path.read_text())["variants"][name]
    assert "failed" not in record, record
    if name == "graphs":
        assert record["difference"] == 0 and record["captured"] == "no GPU"
