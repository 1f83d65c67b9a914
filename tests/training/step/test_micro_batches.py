"""Gradient accumulation: the gradient of the whole batch, in less memory, and refused where a batch is one thing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.stage import Outcome, Ratio, Term
from ltjax.training import loop, prepare
from ltjax.training.execution import programs
from ltjax.training.step.micro_batches import split
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_train_step
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.expert_toys import BACKBONES
from tests.training import toy

ROWS = np.array([0, 30, 40, 7, 25, 1, 38, 3, 12, 39, 26, 41])  # twelve images, of all classes


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)  # with the last ReLU to choose


def batch_of(stage, rows=ROWS):
    """Every stream has these images, in an order of its own."""
    data = toy.build(None).train
    images, labels = np.stack([data.read(i) for i in rows]), data.labels[rows]
    return {
        name: {"image": np.roll(images, 5 * turn, 0), "label": np.roll(labels, 5 * turn), "index": rows}
        for turn, name in enumerate(stage.streams)
    }


def compiled(stage, parts):
    return jax.jit(make_train_step(stage, 5, micro_batches=parts))


def one_step(stage, parts, batch=None, epoch=0, frozen=None, seed=0, step=None):
    """State and metrics after a step; and the state before it. ``step``: the program, where it is there."""
    start = stage.init(jax.random.key(0), None, None)
    state = dataclasses.replace(create_state(stage, start, seed), step=jnp.int32(5 * epoch))
    batch = batch_of(stage) if batch is None else batch
    new, metrics = (step or compiled(stage, parts))(state, frozen or {}, batch)
    return new, metrics, state


def assert_close(one, two):
    """In float64 to 1e-12; what is float32 (a share that depends on the epoch) to its rounding."""

    def close(a, b):
        tolerance = 1e-12 if np.asarray(a).dtype == np.float64 else 1e-6
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance / 100)

    jax.tree.map(close, one, two)


def config_of(method, changes):
    changes = dict(changes)
    own = {"bbn": "bbn_toy", "shike": "shike_toy", **dict.fromkeys(("ride", "sade", "mdcs"), "ride_toy")}
    backbone = {**own, **changes.pop("backbones", {})}.get(method, "toy")
    usual = {"dtype": "float64", "epochs": 10, "batch_size": 12, "second_stage_epochs": 10, "model.backbone": backbone}
    if method in ("lifted", "range", "triplet", "proxy"):
        usual["data.sampler"] = "class_cycle"
    return toy.config(method, second_stage=True, **(usual | changes))


def stage_of(method, number=0, **changes):
    """A stage of the method on the toy, without batch statistics."""
    stage = METHODS[method](config_of(method, changes), toy.build(None))[number]
    return dataclasses.replace(stage, updates=dataclasses.replace(stage.updates, norm="frozen"))


# name of a case -> (epoch, settings) in which a step differs from that of a method's defaults
SETTINGS = {
    "ldam_drw": (9, {"watch_classes": (0, 2)}),  # re-weighted
    "auxiliary": (0, {"auxiliary.rotation": "none", "auxiliary.images_per_class": 4}),
    "reslt, the branches' own means": (0, {"reslt.divisor": "subset_means"}),
    "bbn": (3, {}),
    "ride": (9, {"baseline.use_ldam": False}),
    "asynchronous": (0, {"asynchronous.split": 1}),
}
# Left out of the quick tests; all other methods are in them, a new one too.
SLOW = (
    "ce", "focal", "cb_focal", "ldam", "ce_drs", "balanced_softmax", "logit_adjustment", "cost_sensitive", "cb_ce",
    "ce_drw", "reslt, the branches' own means", "bbn", "causal_norm", "proxy", "ride", "decoupling", "oltr",
    "asynchronous", "lifted", "range", "triplet", "mixup", "cutmix", "seql", "lfme", "fslwf", "fsa",
    "vs", "ib", "disalign", "mislas", "weight_balancing", "bcl", "proco", "paco", "gpaco", "glmc", "cmo", "shike",
    "sade", "mdcs",
)  # fmt: skip
CASES = [
    pytest.param(
        case.partition(",")[0], *SETTINGS.get(case, (0, {})), id=case, marks=[pytest.mark.slow] * (case in SLOW)
    )
    for case in dict.fromkeys([*METHODS, *SETTINGS])
]
# method -> (stage, settings) whose loss compares the images of a batch
WHOLE = {
    "asynchronous": (1, {"asynchronous.split": 1}),
    "lifted": (0, {}),
    "range": (0, {}),
    "triplet": (0, {}),
    "ride": (0, {}),
    "oltr": (1, {}),
    "reslt": (0, {"reslt.mixup": 1.0}),
    "bcl": (0, {}),
    "proco": (0, {}),
    "paco": (0, {}),
    "gpaco": (0, {}),
}
DRAWN = {"mixup": {}, "seql": {}, "cutmix": {}, "auxiliary": {"auxiliary.rotation": "random"}}


@pytest.mark.parametrize("method, epoch, changes", CASES)
def test_the_first_stage_of_every_method_is_exact_or_refused_or_draws_at_random(method, epoch, changes):
    """Without batch statistics the step is that of the undivided batch."""
    with jax.enable_x64(True):
        stage = stage_of(method, **changes)
        at_once = compiled(stage, 1)
        whole, metrics, before = one_step(stage, 1, epoch=epoch, step=at_once)
        if stage.whole_batch:
            with pytest.raises(InputError, match="cannot be split"):
                prepare.check_whole_batch(stage, 2)
        elif draws_at_random(stage, metrics, epoch, at_once):
            assert np.isfinite(one_step(stage, 2, epoch=epoch)[1]["loss"])
        else:
            parts, of_parts, _ = one_step(stage, 2, epoch=epoch)
            assert_close((parts, of_parts), (whole, metrics))
        moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), whole.params, before.params)
        assert max(jax.tree.leaves(moved)) > 1e-4


def draws_at_random(stage, metrics, epoch, step):
    """Whether the same step with another seed has other metrics."""
    _, other, _ = one_step(stage, 1, epoch=epoch, seed=1, step=step)
    return any(not np.array_equal(value, other[name], equal_nan=True) for name, value in metrics.items())


def test_the_parts_are_strided():
    """So that what follows one another, as four images of a class do in a class cycle, comes into different parts."""
    np.testing.assert_array_equal(
        split({"a": {"label": np.arange(12)}}, 4)["a"]["label"], np.arange(12).reshape(3, 4).T
    )


@pytest.mark.parametrize("method, number, changes", [(name, *case) for name, case in WHOLE.items()])
def test_a_stage_whose_batch_is_one_thing_is_refused(method, number, changes):
    config = config_of(method, changes)
    stage = METHODS[method](config, toy.build(None))[number]
    prepare.check_whole_batch(stage, 1)
    with pytest.raises(InputError, match=rf"config.micro_batches: 2, but .* '{stage.name}' cannot be split: .*; use 1"):
        prepare.check_whole_batch(stage, 2)


@pytest.mark.parametrize("method, changes", DRAWN.items())
def test_a_stage_that_draws_by_itself_is_not_refused(method, changes):
    assert not METHODS[method](config_of(method, changes), toy.build(None))[0].whole_batch


def test_what_is_drawn_is_another_draw_in_every_part():
    def objective(apply, params, model_state, batch, context):
        outputs, model_state = apply(params, model_state, batch["image"]["image"])
        noise = jax.random.uniform(context.key)
        return Outcome({"all": Term(outputs.logits[:, 0])}, model_state, {"noise": noise, "square": noise**2})

    metrics = one_step(toy.stage(toy.config(), objective=objective), 2)[1]
    assert float(metrics["square"] - metrics["noise"] ** 2) > 1e-4  # the variance over the parts


def statistics(apply, params, model_state, batch, context):
    """A running value beside the batch statistics, a metric with a part that has nothing, an uneven weight."""
    labels = batch["image"]["label"]
    outputs, model_state = apply(params, model_state, batch["image"]["image"])
    value = jnp.mean(labels.astype(outputs.logits.dtype))
    metrics = {"zeros": Ratio(jnp.sum(labels == 0), jnp.sum(labels >= 0)), "rare": Ratio(value, jnp.sum(labels > 5))}
    extras = {"running": 0.5 * context.extras["running"] + 0.5 * value}
    return Outcome({"all": Term(outputs.logits[:, 0], labels.astype(value.dtype))}, model_state, metrics, extras)


def test_batch_statistics_are_those_of_the_parts_and_their_averages_move_once():
    with jax.enable_x64(True):
        config = toy.config(dtype="float64")
        stage = toy.stage(config, objective=statistics)
        start = stage.init
        stage = dataclasses.replace(stage, init=lambda *a: start(*a)._replace(extras={"running": jnp.float64(3)}))
        new, metrics, state = one_step(stage, 3)
        batch = batch_of(stage)["image"]
        x = np.stack([np.asarray(convolved(stage, state, batch["image"][i::3])) for i in range(3)])
        own = new.model_state["batch_stats"]["backbone"]["norm"]
        np.testing.assert_allclose(own["mean"], 0.1 * x.mean((0, 1, 2, 3)), rtol=1e-12)
        variances = np.mean([part.var((0, 1, 2), ddof=1) for part in x], 0)
        np.testing.assert_allclose(own["var"], 0.9 + 0.1 * variances, rtol=1e-12)
        assert float(new.extras["running"]) == pytest.approx(1.5 + 0.5 * batch["label"].mean(), rel=1e-12)
        assert float(metrics["zeros"]) == np.mean(batch["label"] == 0) and np.isinf(metrics["rare"])


def convolved(stage, state, images):
    """What the toy's batch normalisation sees."""
    _, seen = stage.network.apply(
        {"params": state.params, **state.model_state}, images, capture_intermediates=lambda m, _: m.name == "conv",
        mutable=["intermediates"],
    )  # fmt: skip
    return seen["intermediates"]["backbone"]["conv"]["__call__"][0]


def test_memory_shrinks_and_the_work_stays_and_only_a_cpu_unrolls():
    """Weights need no network: the pass that sums them is compiled away."""
    config = config_of("ldam_drw", {"dtype": "float32"})
    (stage,) = METHODS["ldam_drw"](config, toy.build(None))
    batch = batch_of(stage, np.tile(ROWS, 8))
    state = create_state(stage, stage.init(jax.random.key(0), None, None), 0)
    keep = {"xla_disable_hlo_passes": "cse_barrier_expander"}  # as the commands set it (cpu_flags.py)
    sizes, work = [], []
    for parts in (1, 4):
        traced = jax.jit(make_train_step(stage, 5, micro_batches=parts)).trace(state, {}, batch)
        compiled = traced.lower().compile(compiler_options=keep)
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
        work.append(compiled.cost_analysis()["flops"])
        assert "while" not in compiled.as_text()
        assert ("while" in traced.lower(lowering_platforms=("tpu",)).as_text()) == (parts > 1)
    assert sizes[1] < 0.4 * sizes[0], sizes
    assert work[1] < 1.05 * work[0], work


@pytest.mark.parametrize("on_device", ["yes", "no"])
def test_a_run_hands_the_setting_to_its_step(tmp_path, monkeypatch, on_device):
    def make(stage, steps_per_epoch, micro_batches):
        raise StopAsyncIteration(micro_batches)

    monkeypatch.setattr(programs, "make_train_step", make)
    with pytest.raises(StopAsyncIteration, match="2"):
        loop.train(toy.config("ce", micro_batches=2, data__on_device=on_device), str(tmp_path))


def test_parts_that_do_not_come_out_even_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"config.batch_size: 8 does not divide over 1 devices times 3 micro-batches"):
        loop.train(toy.config("ce", micro_batches=3), str(tmp_path))


@pytest.mark.slow
def test_a_whole_run_in_parts_on_host_and_device_and_for_two_seeds(tmp_path):
    found = []
    for name, settings in {"host": {"data__on_device": "no"}, "device": {"num_seeds": 2, "seed": 0}}.items():
        config = toy.config("reslt", micro_batches=2, epochs=1, log_every_steps=1, **settings)
        results = loop.train(config, str(tmp_path / name))
        found.append(results.get("per_seed", [results])[0]["train_loss_last_epoch"])
    config = toy.config("reslt", epochs=1, log_every_steps=1)
    whole = loop.train(config, str(tmp_path / "whole"))["train_loss_last_epoch"]
    assert found[0] == pytest.approx(found[1], rel=1e-4) and found[0] != pytest.approx(whole, rel=1e-4)
