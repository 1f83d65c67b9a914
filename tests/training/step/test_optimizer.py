"""AdamW and SAM by their formulas, and which parameters have weight decay."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.common import rates
from ltjax.methods.stage import Updates
from ltjax.settings import StageOptimizer
from ltjax.training import prepare
from ltjax.training.step.micro_batches import split
from ltjax.training.step.optimizer import decay_factors, make_optimizer, sharpened_classes, sharpest
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_apply, make_train_step
from tests.training import toy

PARAMS = {
    "backbone/conv/kernel": (2, 3), "backbone/norm/scale": (3,), "attention/mask/kernel": (2, 2), "head/fc/bias": (2,),
    "head/classifier/kernel": (3, 2), "head/classifier/bias": (2,), "head/scale": (),
}  # fmt: skip


def arrays(seed):
    rng = np.random.default_rng(seed)
    return {path: rng.normal(size=shape) for path, shape in PARAMS.items()}


def test_adamw_is_the_paper_in_float64_under_a_schedule():
    """Loshchilov & Hutter (2019), algorithm 2, with the rate in front of both terms; here written in numpy."""
    settings = StageOptimizer(name="adamw", betas=(0.8, 0.95), epsilon=1e-3, weight_decay=0.3, nesterov=True)
    with jax.enable_x64(True):
        optimizer, params = make_optimizer(settings), arrays(0)
        expected, state = dict(params), optimizer.init(params)
        mean = square = dict.fromkeys(params, 0.0)
        for t, rate in enumerate((0.1, 0.2, 0.05), 1):
            gradient = arrays(t)
            update, state = optimizer.update(gradient, state, params)
            params = {path: params[path] - rate * update[path] for path in params}
            mean = {p: 0.8 * mean[p] + 0.2 * g for p, g in gradient.items()}
            square = {p: 0.95 * square[p] + 0.05 * g**2 for p, g in gradient.items()}
            for p, value in expected.items():
                adam = mean[p] / (1 - 0.8**t) / (np.sqrt(square[p] / (1 - 0.95**t)) + 1e-3)
                expected[p] = value - rate * adam - rate * 0.3 * value
        for path, value in expected.items():
            np.testing.assert_allclose(params[path], value, rtol=1e-12, err_msg=path)


def test_adamw_is_pytorchs():
    torch = pytest.importorskip("torch")
    settings = StageOptimizer(name="adamw", weight_decay=0.1)
    optimizer, params = make_optimizer(settings), arrays(0)
    theirs = {path: torch.nn.Parameter(torch.tensor(value)) for path, value in params.items()}
    reference = torch.optim.AdamW(theirs.values(), lr=0.01, betas=settings.betas, eps=1e-8, weight_decay=0.1)
    with jax.enable_x64(True):
        state = optimizer.init(params)
        for seed in (1, 2, 3):
            gradient = arrays(seed)
            update, state = optimizer.update(gradient, state, params)
            params = {path: params[path] - 0.01 * update[path] for path in params}
            for path, value in theirs.items():
                value.grad = torch.tensor(gradient[path])
            reference.step()
    for path, value in theirs.items():
        np.testing.assert_allclose(params[path], value.detach().numpy(), rtol=1e-10, err_msg=path)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_by_group_is_what_is_left_where_there_is_no_gradient(name):
    settings = StageOptimizer(
        name=name, momentum=0.0, weight_decay=0.1, decay_norms_and_biases=False, backbone_decay=2.0, head_decay=0.5
    )
    optimizer, params = make_optimizer(settings, undecayed=("attention",)), arrays(0)
    nothing = {path: np.zeros_like(value) for path, value in params.items()}
    update, _ = optimizer.update(nothing, optimizer.init(params), params)
    expected = dict.fromkeys(params, 0.0) | {"backbone/conv/kernel": 0.2, "head/classifier/kernel": 0.05}
    for path, decay in expected.items():
        np.testing.assert_allclose(update[path], decay * params[path], rtol=1e-6, err_msg=path)


def test_the_groups_of_decay_are_those_of_the_rates():
    """The extractor's rate and decay go to the same paths; without a setting every parameter has the whole decay."""
    params = arrays(0)
    decay = decay_factors(params, StageOptimizer(backbone_decay=0.25))
    assert decay == {
        path: 0.25 if path.startswith(tuple(rates(StageOptimizer(backbone_rate=0.5)))) else 1.0 for path in params
    }
    assert set(decay_factors(params, StageOptimizer()).values()) == {1.0}
    assert decay_factors(params, StageOptimizer(), ("head",))["head/scale"] == 0.0


@pytest.mark.parametrize("undecayed", [(), ("head",)])
def test_without_groups_the_update_is_optax_chain(undecayed):
    """The same arithmetic, bit for bit, and the same state, which checkpoints of older versions hold."""
    settings, params, gradient = StageOptimizer(weight_decay=0.01, nesterov=True), arrays(0), arrays(1)
    ours = make_optimizer(settings, undecayed)
    mask = {path: not path.startswith("head") for path in params} if undecayed else None
    chain = optax.chain(optax.add_decayed_weights(0.01, mask=mask), optax.trace(0.9, nesterov=True))
    (mine, state), (theirs, other) = (one.update(gradient, one.init(params), params) for one in (ours, chain))
    assert jax.tree.structure(state) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def test_the_sharpest_point_is_at_the_distance_along_the_gradient():
    params, gradient = arrays(0), arrays(1)
    del gradient["head/scale"]
    with jax.enable_x64(True):
        moved = sharpest(params, gradient, 0.3)
        still = sharpest(params, jax.tree.map(np.zeros_like, params), 0.3)
    length = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    for path, value in params.items():
        np.testing.assert_allclose(moved[path], value + 0.3 * gradient.get(path, 0.0) / length, rtol=1e-12)
        np.testing.assert_array_equal(still[path], value)


def batch_of(size=8):
    source = toy.source((3, 3, 2), 5)
    images = np.stack([source.read(i) for i in range(size)])
    return {"image": {"image": images, "label": source.labels[:size], "index": np.arange(size, dtype=np.int32)}}


QUICK = {"xla_backend_optimization_level": 0}  # compiles faster


def sam_step(micro_batches=1, sharpened=None, rho=0.1, **updates):
    """(stage, state before, state after, metrics) of a step with SAM in float64."""
    config = toy.config(dtype="float64", optimizer__sam_rho=rho, optimizer__learning_rate=0.5)
    chosen = None if sharpened is None else np.array(sharpened)
    stage = toy.stage(config, updates=Updates(**updates), sharpened=chosen)
    state = create_state(stage, toy.start_of(stage), 0)
    step = jax.jit(make_train_step(stage, 5, micro_batches), compiler_options=QUICK)
    new, metrics = step(state, {}, batch_of())
    return stage, state, new, metrics


def test_a_step_of_sam_takes_the_gradient_at_the_sharpest_point_and_keeps_the_first_statistics():
    with jax.enable_x64(True):
        stage, state, new, metrics = sam_step(rates={"head/classifier/bias": 0.0})
        images, labels = batch_of()["image"]["image"], batch_of()["image"]["label"]

        def loss(params):
            outputs, after = make_apply(stage)(params, state.model_state, images)
            return jnp.mean(-jax.nn.log_softmax(outputs.logits)[jnp.arange(8), labels]), after

        gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
        (value, after), first = gradient(state.params)
        first["head"]["classifier"]["bias"] = jnp.zeros(3)  # what does not move is not moved there either
        length = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(first)))
        there = jax.tree.map(lambda p, g: p + 0.1 * g / length, state.params, first)
        _, second = gradient(there)
        expected = jax.tree.map(lambda p, g: p - 0.5 * (g + 5e-4 * p), state.params, second)
        expected["head"]["classifier"]["bias"] = state.params["head"]["classifier"]["bias"]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), new.params, expected)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), new.model_state, after)
        assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-12)
        plain = dataclasses.replace(stage, optimizer=dataclasses.replace(stage.optimizer, sam_rho=0.0))
        without, _ = jax.jit(make_train_step(plain, 5))(state, {}, batch_of())
        kernel = lambda one: one.params["head"]["classifier"]["kernel"]  # noqa: E731
        assert not np.allclose(kernel(without), kernel(new), rtol=1e-3)


def test_sam_in_micro_batches_is_that_of_the_whole_batch():
    """One ascent by the gradient of the whole batch, not one in each part."""
    assert split({"x": np.arange(4)}, 2)["x"].shape == (2, 2)
    with jax.enable_x64(True):
        whole, parts = (sam_step(count, norm="frozen")[2] for count in (1, 2))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), whole.params, parts.params)


def close(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)


@pytest.mark.slow
def test_sharpening_the_loss_of_all_classes_is_sam_and_that_of_none_is_not():
    """ImbSAM's two ends; what is logged and the batch statistics are those of the plain pass."""
    with jax.enable_x64(True):
        for sharpened, rho in (((True, True, True), 0.1), ((False, False, False), 0.0)):
            (_, _, found, logged), (*_, expected, metrics) = sam_step(sharpened=sharpened), sam_step(rho=rho)
            close(found.params, expected.params)
            close(found.model_state, expected.model_state)
            close(logged, metrics)


def test_imbsam_is_the_plain_gradient_of_frequent_classes_and_that_of_rare_ones_at_their_worst_weights():
    with jax.enable_x64(True):
        stage, state, new, _ = sam_step(sharpened=(False, True, True), rates={"head/classifier/bias": 0.0})
        images, labels = batch_of()["image"]["image"], batch_of()["image"]["label"]
        rare = jnp.asarray(labels > 0)
        assert rare.any() and not rare.all()

        def loss(params, counted):
            logits = make_apply(stage)(params, state.model_state, images)[0].logits
            losses = -jax.nn.log_softmax(logits)[jnp.arange(8), labels]
            return jnp.sum(losses * counted) / 8  # of the whole batch

        gradient = jax.jit(jax.grad(loss), compiler_options=QUICK)
        ascent = gradient(state.params, rare)
        ascent["head"]["classifier"]["bias"] = jnp.zeros(3)  # it does not move
        length = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(ascent)))
        there = jax.tree.map(lambda p, g: p + 0.1 * g / length, state.params, ascent)
        both = jax.tree.map(jnp.add, gradient(state.params, ~rare), gradient(there, rare))
        expected = jax.tree.map(lambda p, g: p - 0.5 * (g + 5e-4 * p), state.params, both)
        expected["head"]["classifier"]["bias"] = state.params["head"]["classifier"]["bias"]
        close(new.params, expected)


@pytest.mark.slow
def test_imbsam_in_micro_batches_is_that_of_the_whole_batch():
    with jax.enable_x64(True):
        whole, parts = (sam_step(count, (False, False, True), norm="frozen")[2] for count in (1, 2))
        close(whole.params, parts.params)


def test_the_classes_that_are_sharpened_have_fewer_images_than_the_setting():
    counts = np.array(toy.COUNTS)  # 24, 12, 6
    assert sharpened_classes(StageOptimizer(sam_rho=0.1), counts, "config.optimizer") is None
    chosen = sharpened_classes(StageOptimizer(sam_rho=0.1, sam_below=12), counts, "config.optimizer")
    assert chosen.tolist() == [False, False, True]
    with pytest.raises(InputError, match=r"^config.optimizer.sam_below: 6 is without effect: the rarest class has 6 "):
        sharpened_classes(StageOptimizer(sam_rho=0.1, sam_below=6), counts, "config.optimizer")
    with pytest.raises(
        InputError, match=r"^config.optimizer.sam_below: impossible value 12; allowed: 0 with .*sam_rho=0"
    ):
        toy.config(optimizer__sam_below=12)
    with pytest.raises(InputError, match=r"^config.optimizer.sam_below: .* with config.method=bce: an image can be of"):
        toy.config("bce", optimizer__sam_rho=0.1, optimizer__sam_below=12)


def test_a_run_sharpens_the_classes_of_its_data(monkeypatch):
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    second = {"second_stage_optimizer__sam_rho": 0.1, "second_stage_optimizer__sam_below": 13}
    config = toy.config("decoupling", second_stage=True, **second)
    first, later = prepare.make_stages(config, toy.build(None))
    assert first.sharpened is None and later.sharpened.tolist() == [False, True, True]
    config = toy.config("decoupling", second_stage=True, **(second | {"second_stage_optimizer__sam_below": 1}))
    with pytest.raises(InputError, match=r"^config.second_stage_optimizer.sam_below: 1 is without effect"):
        prepare.make_stages(config, toy.build(None))


@pytest.mark.parametrize(
    "setting, value", [("sam_rho", 0.05), ("ema_decay", 0.9), ("name", "adamw"), ("head_decay", 2.0)]
)
def test_a_second_stage_that_is_computed_refuses_what_only_training_has(monkeypatch, setting, value):
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)

    def make(**changes):
        config = toy.config("decoupling", second_stage=True, **changes)
        return prepare.check_used(config, METHODS["decoupling"](config, toy.build(None)))

    changes = {f"second_stage_optimizer__{setting}": value}
    make(**changes)  # cRT is trained
    with pytest.raises(
        InputError, match=rf"second_stage_optimizer.{setting}: {value!r} is without effect: .* leave it"
    ):
        make(decoupling__second_stage="ncm", **changes)
    lbfgs = {"decoupling__solver": "lbfgs", "decoupling__cached": True}
    make(**lbfgs)
    with pytest.raises(InputError, match="is without effect"):
        make(**lbfgs, **changes)
