"""Whole runs with all ingredients of training at once: AdamW, SAM, decay by group, an average, stochastic depth."""

import json

import flax.linen as nn
import jax
import numpy as np
import pytest

from ltjax import models
from ltjax.methods import METHODS
from ltjax.models.drop_path import drop_path
from ltjax.settings.identity import difference, identity, to_json
from ltjax.training import loop, prepare
from ltjax.training.finished_run import open_finished
from ltjax.training.interrupt import Interrupted
from ltjax.training.workdir.checkpoint import checkpoints
from tests.training import toy
from tests.training.execution.test_programs import RUNS, losses
from tests.training.test_loop import final, last, lines, same, stop_at

ALL = {
    "optimizer__name": "adamw",
    "optimizer__sam_rho": 0.05,
    "optimizer__ema_decay": 0.5,
    "optimizer__decay_norms_and_biases": False,
    "optimizer__head_decay": 2.0,
    "model__drop_path": 0.5,
}


class Dropping(toy.Backbone):
    """The toy's backbone and a residual branch that images skip."""

    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x, train=False, frozen_norm=False):
        x = super().__call__(x, train, frozen_norm)
        branch = nn.Conv(4, (1, 1), dtype=self.dtype, param_dtype=self.param_dtype, name="branch")(x)
        return x + drop_path(self, branch, self.drop_path, train)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(METHODS, "three", toy.three_stages)
    monkeypatch.setitem(models.BACKBONES, "toy", Dropping)


def config(**changes):
    return toy.config("ce", **(ALL | {"log_every_steps": 1, "data__augment": "pad_crop"} | changes))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """seed -> (losses, results) of its own run in float64 with the data on the device, made once."""
    made = {}

    def run(seed):
        if seed not in made:
            folder = tmp_path_factory.mktemp("alone")
            made[seed] = loop.train(config(dtype="float64", seed=seed), str(folder)), losses(folder)
        return made[seed]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", ["host", "calls of three"])
def test_in_float64_every_way_has_the_same_losses(tmp_path, alone, name):
    with jax.enable_x64(True):
        results = loop.train(config(dtype="float64", seed=3, **RUNS[name]), str(tmp_path))
        expected, of_each_step = alone(3)
    assert results["data_on_device"] == (name != "host")
    np.testing.assert_allclose(losses(tmp_path), of_each_step, rtol=1e-9)
    assert results["per_class"] == expected["per_class"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["unroll", "vmap"])
def test_in_float64_each_seed_is_its_own_run(tmp_path, alone, how):
    with jax.enable_x64(True):
        both = loop.train(config(dtype="float64", seed=3, num_seeds=2, seeds_by=how), str(tmp_path))
        each = [alone(seed) for seed in (3, 4)]
    np.testing.assert_allclose(losses(tmp_path), np.stack([found for _, found in each], -1), rtol=1e-9)
    assert [one["per_class"] for one in both["per_seed"]] == [one["per_class"] for one, _ in each]


def test_a_run_goes_on_bit_for_bit_and_gives_the_average(tmp_path, monkeypatch):
    whole = loop.train(config(), str(tmp_path / "whole"))
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(config(), str(tmp_path / "parts"))
    loop.train(config(), str(tmp_path / "parts"))
    state = last(tmp_path / "whole")
    same(state, last(tmp_path / "parts"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    finished = open_finished(str(tmp_path / "whole"), {})
    kernel = finished.variables["params"]["head"]["classifier"]["kernel"]
    np.testing.assert_array_equal(kernel, state["['average']['params']['head/classifier/kernel']"])
    assert not np.array_equal(kernel, state["['params']['head']['classifier']['kernel']"])
    mean = finished.variables["batch_stats"]["backbone"]["norm"]["mean"]
    np.testing.assert_array_equal(mean, state["['average']['model_state']['batch_stats']['backbone']['norm']['mean']"])
    np.testing.assert_allclose(
        np.load(tmp_path / "whole" / "evaluation.npz")["weight_norms"], np.linalg.norm(kernel, axis=0), rtol=1e-6
    )
    assert whole["step"] == 10


def test_the_next_stage_starts_from_the_average(tmp_path):
    settings = toy.config("three", optimizer__ema_decay=0.9)
    loop.train(settings, str(tmp_path))
    first = final(tmp_path, settings, "first", 10)
    with checkpoints(tmp_path / "checkpoints" / "second", keep=None) as saved:
        teacher = saved.restore_start()["frozen"]["teacher"]
    kernel = teacher["params"]["head"]["classifier"]["kernel"]
    np.testing.assert_array_equal(kernel, first[".average['params']['head/classifier/kernel']"])
    assert not np.array_equal(kernel, first[".params['head']['classifier']['kernel']"])
    second = final(tmp_path, settings, "second", 5)
    assert not any("average" in name and "conv" in name for name in second)  # its backbone is frozen


def test_a_workdir_from_before_these_settings_goes_on(tmp_path, monkeypatch):
    """Its config has none of them, and its checkpoints have no average."""
    settings = toy.config("ce")
    stop_at(monkeypatch, 4)
    with pytest.raises(Interrupted):
        loop.train(settings, str(tmp_path))
    stored = json.loads(to_json(settings))
    new = [key.removeprefix("optimizer__") for key in ALL if key.startswith("optimizer")] + ["betas", "epsilon"]
    for name in [*new, "backbone_decay"]:
        del stored["optimizer"][name]
    del stored["model"]["drop_path"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with checkpoints(tmp_path / "checkpoints" / "train", keep=None) as saved:
        assert set(saved.layout(4)) == {"step", "seed", "params", "model_state", "opt_state", "extras"}
        assert saved.layout(4)["opt_state"][0] is None  # of optax.add_decayed_weights
    assert difference(settings, stored) is None
    assert not {f"optimizer.{name}" for name in new} & set(identity(settings))
    assert loop.train(settings, str(tmp_path))["resumes"] == [{"stage": "train", "step": 4}]
    other = settings.replaced({"optimizer.sam_rho": 0.05})
    assert difference(other, stored) == "config.optimizer.sam_rho is None there and 0.05 here"
