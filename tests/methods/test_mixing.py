"""mixup and CutMix on the device: shares, partners, rounding; the loss against its vectors is tests/losses' matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.class_counts import effective_number_weights
from ltjax.data.sampling.epoch_shuffle import instance_balanced
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.mixing import Mixed, mix, mixed_stage, paste, remix, shared_out
from ltjax.methods.stage import Context, Outcome, Term, trained
from ltjax.models import Outputs
from ltjax.training.step.gradient_conflict import make_distortion
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_apply
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.expert_toys import BACKBONES
from tests.training import toy
from tests.training.step.test_micro_batches import batch_of, config_of

IMAGES = jnp.asarray(np.random.RandomState(0).randint(0, 256, (6, 3, 3, 2)), jnp.uint8)
LABELS = jnp.arange(6)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_images_and_labels_are_mixed_in_the_same_order_and_share(dtype):
    images = IMAGES.astype(dtype)
    mixed = jax.jit(lambda key: mix(key, images, LABELS, 1.0))(jax.random.key(3))
    other = np.asarray(mixed.labels_b)
    assert sorted(other) == list(range(6)) and list(other) != list(range(6))
    np.testing.assert_array_equal(mixed.labels_a, LABELS)
    exact = np.asarray(images, np.float64)
    expected = float(mixed.lam) * exact + (1 - float(mixed.lam)) * exact[other]
    assert mixed.images.dtype == dtype
    np.testing.assert_allclose(mixed.images, expected, atol=0.5001 if dtype == "uint8" else 1e-4)


@pytest.mark.parametrize("alpha, variance", [(1.0, 1 / 12), (0.2, 1 / (4 * 1.4))])
def test_the_share_is_beta_distributed_and_one_a_batch(alpha, variance):
    lams = jax.vmap(lambda key: mix(key, IMAGES, LABELS, alpha).lam)(jax.random.split(jax.random.key(0), 2000))
    assert lams.shape == (2000,) and lams.min() >= 0 and lams.max() <= 1
    assert abs(lams.mean() - 0.5) < 0.03
    assert abs(lams.var() - variance) < 0.01  # 1 / (4 (2 alpha + 1))


def test_alpha_0_mixes_nothing():
    mixed = mix(jax.random.key(0), IMAGES, LABELS, 0.0)
    assert mixed.lam == 1
    np.testing.assert_array_equal(mixed.images, IMAGES)


def test_the_larger_share_names_the_class():
    labels = Mixed(IMAGES, LABELS, LABELS[::-1], jnp.float32(0.4)).larger
    np.testing.assert_array_equal(labels, LABELS[::-1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_box_of_another_image_is_pasted_and_counted(dtype):
    images = jnp.arange(6, dtype=dtype)[:, None, None, None] * jnp.ones((6, 9, 14, 2), dtype)
    pasting, areas = jax.jit(lambda key: paste(key, images, LABELS, 1.0)), set()
    for seed in range(40):
        pasted = pasting(jax.random.key(seed))
        other, changed = np.asarray(pasted.labels_b), np.asarray(pasted.images)
        assert pasted.images.dtype == dtype and sorted(other) == list(range(6))
        i = next((i for i in range(6) if other[i] != i), None)
        if i is None:
            continue
        box = changed[i, ..., 0] == other[i]
        rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        assert box.sum() == len(rows) * len(columns)  # one box ...
        if len(rows):
            assert np.ptp(rows) == len(rows) - 1 and np.ptp(columns) == len(columns) - 1
        for j in range(6):  # ... the same in all images
            np.testing.assert_array_equal(changed[j, ..., 1], np.where(box, other[j], j))
        assert float(pasted.lam) == pytest.approx(1 - box.mean(), abs=1e-6)
        areas.add(round(float(pasted.lam), 2))
    assert len(areas) > 10


def test_nothing_is_pasted_with_alpha_0():
    pasted = paste(jax.random.key(0), IMAGES, LABELS, 0.0)
    assert pasted.lam == 1
    np.testing.assert_array_equal(pasted.images, IMAGES)


def test_the_coin_decides_for_the_whole_batch_and_leaves_its_share():
    keys = jax.random.split(jax.random.key(0), 2000)
    always, often = (jax.vmap(lambda key, p=p: mix(key, IMAGES, LABELS, 1.0, p).lam)(keys) for p in (1.0, 0.3))
    mixed = np.asarray(often) < 1
    assert abs(mixed.mean() - 0.3) < 0.03
    np.testing.assert_array_equal(often[mixed], always[mixed])
    assert mix(keys[0], IMAGES, LABELS, 1.0, 0.0).lam == paste(keys[0], IMAGES, LABELS, 1.0, 0.0).lam == 1


@pytest.mark.parametrize("function", [mix, paste])
def test_streams_of_a_step_have_the_same_share_in_orders_of_their_own(function):
    images = jnp.zeros((6, 20, 20, 1))
    first, second = (function(jax.random.key(2), images, LABELS, 1.0, stream=number) for number in (0, 1))
    assert first.lam == second.lam and 0 < first.lam < 1
    assert first.labels_b.tolist() != second.labels_b.tolist()


def test_remix_gives_the_label_to_the_rarer_class_where_its_share_is_large_enough():
    counts, labels, found = (90, 30, 10), jnp.array([0, 0, 1, 1, 2, 2]), set()
    for seed in range(40):
        key = jax.random.key(seed)
        mixed, plain = remix(key, IMAGES, labels, 1.0, class_counts=counts), mix(key, IMAGES, labels, 1.0)
        np.testing.assert_array_equal(mixed.images, plain.images)
        np.testing.assert_array_equal(mixed.labels_b, plain.labels_b)
        share = float(plain.lam)
        for a, b, lam in zip(mixed.labels_a.tolist(), mixed.labels_b.tolist(), mixed.lam.tolist(), strict=True):
            ratio = counts[a] / counts[b]
            expected = 0.0 if ratio >= 3 and share < 0.5 else 1.0 if ratio <= 1 / 3 and 1 - share < 0.5 else share
            assert lam == pytest.approx(expected, abs=1e-6)
            found.add((a, b, share < 0.5))
    assert len(found) == 18


WEIGHTS = np.random.RandomState(1).randn(64, 3) / 500


def first_stage(method, **changes):
    return METHODS[method](config_of(method, changes), toy.build(None))[0]


def linear(params, model_state, images, train=True, **options):
    """A network of one matrix."""
    features = images.reshape(len(images), -1).astype(jnp.float32)
    return Outputs(features @ jnp.asarray(WEIGHTS, jnp.float32), features), model_state


def evaluated(stage, parts=1):
    """The outcomes of a stage's objective on the linear network, of the micro-batches of one batch; and their keys."""
    batch, key = batch_of(stage), jax.random.key(7)
    keys = [key] if parts == 1 else [jax.random.fold_in(key, number) for number in range(parts)]

    @jax.jit
    def objective(batch, key):
        context = Context(jnp.int32(0), jnp.int32(0), 10, jnp.float32(0), key, {}, {})
        return stage.objective(linear, {}, {}, batch, context)

    found = []
    for number, key in enumerate(keys):
        part = jax.tree.map(lambda x, n=number: jnp.asarray(x[n::parts]), batch)
        found.append(objective(part, key))
    return found, keys


def test_class_weights_weigh_each_label_of_a_mixed_image():
    """lam times the weighted mean for the labels a and 1 - lam times that for b, on the logits of the mixed images."""
    ((outcome,), (key,)) = evaluated(stage := first_stage("cb_ce", **{"mix.name": "mixup"}))
    batch = batch_of(stage)["image"]
    mixed = mix(key, jnp.asarray(batch["image"]), jnp.asarray(batch["label"]), 1.0)
    assert 0.1 < mixed.lam < 0.9
    logits = np.asarray(mixed.images, float).reshape(12, -1) @ WEIGHTS
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    weights = effective_number_weights(toy.COUNTS, 0.9999)

    def weighted(labels):
        of = weights[np.asarray(labels)]
        return -np.sum(of * log_p[np.arange(12), np.asarray(labels)]) / of.sum()

    lam = float(mixed.lam)
    expected = lam * weighted(mixed.labels_a) + (1 - lam) * weighted(mixed.labels_b)
    assert float(outcome.terms["classification"].mean()) == pytest.approx(expected, rel=1e-4)
    assert outcome.metrics["mix/lam"] == mixed.lam
    right = np.argmax(log_p, -1) == np.asarray(mixed.larger)
    assert float(outcome.metrics["accuracy"]) == pytest.approx(right.mean())


def test_micro_batches_mix_within_each_and_add_up_to_the_weights_of_the_batch():
    stage = first_stage("cb_ce", **{"mix.name": "cutmix"})
    outcomes, _ = evaluated(stage, parts=3)
    assert len({float(outcome.metrics["mix/lam"]) for outcome in outcomes}) == 3
    total = sum(float(outcome.terms["classification"].sums()[1]) for outcome in outcomes)
    weights = effective_number_weights(toy.COUNTS, 0.9999)
    assert total == pytest.approx(weights[batch_of(stage)["image"]["label"]].sum(), rel=1e-6)


@pytest.mark.parametrize("method, passes", [("ce", 1), ("ride", 1), ("bbn", 2), ("auxiliary", 2), ("reslt", 1)])
def test_the_network_runs_as_often_as_without_mixing(method, passes):
    stage, calls = first_stage(method, **{"dtype": "float32", "mix.name": "cutmix"}), []
    network = make_apply(stage)

    def apply(params, model_state, images, train=True, **options):
        calls.append(images)
        return network(params, model_state, images, train, **options)

    def step(key, batch):
        variables = stage.network.init(key, batch[next(iter(batch))]["image"], train=False)
        context = Context(jnp.int32(0), jnp.int32(0), 10, jnp.float32(0), key, {}, {})
        params, model_state = variables["params"], {k: v for k, v in variables.items() if k != "params"}
        terms = stage.objective(apply, params, model_state, batch, context).terms.values()
        return sum(term.scale * term.mean() for term in terms)

    assert jax.eval_shape(step, jax.random.key(0), batch_of(stage)).shape == ()
    assert len(calls) == passes


def test_the_gradient_diagnostic_splits_a_mixed_objective():
    stage = first_stage("ce", **{"dtype": "float32", "mix.name": "mixup"})
    make = make_distortion(stage, 5, np.array([True, False, False]))
    state = jax.eval_shape(lambda: create_state(stage, stage.init(jax.random.key(0), None, None), 0))
    seen = jax.eval_shape(make, state, {}, batch_of(stage))
    assert {"gradient/cosine_frequent", "gradient/cosine_rare", "gradient/norm"} <= set(seen)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_cross_entropy_is_the_method_of_that_name(name):
    """The same program, operation by operation; so the results are the same bits."""

    def program(stage):
        def run(batch, key):
            context = Context(jnp.int32(0), jnp.int32(0), 10, jnp.float32(0), key, {}, {})
            outcome = stage.objective(linear, {}, {}, batch, context)
            return outcome.terms["classification"].mean(), list(dict(sorted(outcome.metrics.items())).values())

        return str(jax.make_jaxpr(run)(batch_of(stage), jax.random.key(0)))

    assert program(first_stage(name)) == program(first_stage("ce", **{"mix.name": name}))


def test_only_stages_that_train_the_backbone_mix():
    def mixes(method, **changes):
        stages = METHODS[method](config_of(method, {**changes, "mix.name": "mixup"}), toy.build(None))
        return [stage.objective.__qualname__.startswith("mixed_stage") for stage in trained(stages)]

    assert mixes("ce") == [True] and mixes("decoupling") == [True, False] and mixes("fsa") == [True, False]
    assert mixes("decoupling", **{"decoupling.retrain": "all"}) == [True, True]
    assert mixes("oltr", **{"oltr.train_backbone": False}) == [True, False] and mixes("oltr") == [True, True]


def test_shares_of_each_image_need_one_stream_and_a_loss_of_each_image():
    lams = jnp.array([0.0, 1.0, 0.5])
    assert shared_out(Term(jnp.ones((2, 3))), Term(jnp.zeros((2, 3))), lams).mean() == 0.5
    with pytest.raises(InputError, match=r"config.mix.name: remix .* the loss of stage 'train' is not one of each"):
        shared_out(Term(jnp.ones(())), Term(jnp.ones(())), lams, "train")

    def objective(apply, params, model_state, batch, context):
        first, second = (apply(params, model_state, stream["image"])[0] for stream in batch.values())
        return Outcome({"all": Term(first.logits[:, 0] + second.logits[:, 0])}, model_state)

    streams = {"image": instance_balanced(), "other": instance_balanced()}
    stage = toy.stage(toy.config(), objective=objective, streams=streams)
    draw = functools.partial(remix, alpha=1.0, class_counts=toy.COUNTS)
    with pytest.raises(InputError, match=r"config.mix.name: remix .* stage 'first' has 2 streams"):
        evaluated(mixed_stage(stage, draw))


def test_running_values_of_labels_are_refused():
    def objective(apply, params, model_state, batch, context):
        outputs, model_state = apply(params, model_state, batch["image"]["image"])
        return Outcome(
            {"all": Term(outputs.logits[:, 0])}, model_state, {}, {"mean": jnp.mean(batch["image"]["label"])}
        )

    stage = toy.stage(toy.config(), objective=objective)
    with pytest.raises(InputError, match=r"config.mix.name: stage 'first' keeps running values"):
        evaluated(mixed_stage(stage, functools.partial(mix, alpha=1.0)))


def test_a_masked_example_has_no_part():
    values, weights = jnp.array([1.0, jnp.inf]), jnp.array([1.0, 0.0])
    term = shared_out(Term(values, weights), Term(values, weights), jnp.float32(0.5))
    assert term.mean() == 1


def test_two_ways_of_mixing_are_refused():
    with pytest.raises(InputError, match=r"config.mix.name: .*'cutmix'; allowed: none with config.reslt.mixup=1"):
        toy.config("reslt", mix__name="cutmix", reslt__mixup=1.0)
