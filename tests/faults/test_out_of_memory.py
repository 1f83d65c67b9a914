"""Too little memory, on any device, is one line that names the settings that help."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.commands.cli import guarded
from ltjax.errors import OutOfMemory
from ltjax.training import loop, out_of_memory, prepare
from ltjax.training.evaluation import Evaluator
from tests.training import toy

ERRORS = {
    "gpu": "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 34359738368 bytes.",
    "tpu": "RESOURCE_EXHAUSTED: Attempting to reserve 9.30G at the bottom of memory.\nThere are 7.20G free.",
}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)


def raising(error):
    def fail(*args, **options):
        raise error

    return fail


def line_of(config, folder, capsys):
    capsys.readouterr()
    status = guarded(lambda argv: loop.train(config, str(folder)) and 0, [])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert status == 1 and len(errors) == 1
    return errors[0]


@pytest.mark.parametrize("device", ERRORS)
def test_training_names_micro_batches_and_remat(tmp_path, monkeypatch, capsys, device):
    monkeypatch.setattr(loop, "_train_stage", raising(jax.errors.JaxRuntimeError(ERRORS[device])))
    line = line_of(toy.config(), tmp_path, capsys)
    assert "out of memory in training: " in line and ("34359738368 bytes" in line or "reserve 9.30G" in line)
    assert "raise config.micro_batches (now 1), set config.model.remat=true, or lower config.batch_size (now 8)" in line
    assert "the last checkpoint is kept" in line


def test_evaluation_names_its_batch_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "_train_stage", lambda run, stage, current, *rest: current)
    monkeypatch.setattr(Evaluator, "with_answers", raising(MemoryError("Unable to allocate 7.45 GiB")))
    line = line_of(toy.config(), tmp_path, capsys)
    assert "out of memory in evaluation: Unable to allocate 7.45 GiB; " in line
    assert "lower config.evaluation.batch_size (now 8)" in line


def test_what_is_asked_for_and_had_is_the_devices_own_number():
    asked = r"Out of memory allocating 7\d{13} bytes; the host has [\d.,]+ GB of"
    with pytest.raises(OutOfMemory, match=asked) as one, out_of_memory.naming("here", "advice"):
        jax.jit(lambda: jnp.zeros((1 << 46,), jnp.uint8))().block_until_ready()
    assert isinstance(one.value.__cause__, jax.errors.JaxRuntimeError)
    with (
        pytest.raises(OutOfMemory, match="memory here: Unable to alloc"),
        out_of_memory.naming("here", "advice"),
    ):
        np.empty(1 << 50)


def test_of_several_devices_the_fullest_one_is_reported(monkeypatch):
    class Device:
        device_kind = "H200"

        def __init__(self, used):
            self.used = used

        def memory_stats(self):
            return {"bytes_in_use": self.used, "bytes_limit": 8e9, "peak_bytes_in_use": 7.5e9}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device(1e9), Device(7e9), Device(2e9)])
    assert out_of_memory.memory() == "H200 uses 7.00 GB of 8.00 GB, 7.50 GB at most"


def test_commands_without_settings_are_one_line_as_well_and_other_errors_keep_their_trace(capsys):
    assert guarded(raising(jax.errors.JaxRuntimeError(ERRORS["gpu"])), []) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "34359738368 bytes" in error and "use smaller batches" in error
    for other in (jax.errors.JaxRuntimeError("INTERNAL: a bug"), RuntimeError("a bug")):
        with pytest.raises(RuntimeError, match="a bug"):
            guarded(raising(other), [])
