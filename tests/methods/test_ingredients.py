"""Ingredients of the loss and the head: every method takes them or refuses them, and priors follow what is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.losses import balanced_softmax_loss, cross_entropy, label_aware_smoothing_loss, logit_adjusted_loss
from ltjax.losses.smoothing import smoothing_strengths
from ltjax.methods import METHODS, configure
from ltjax.methods.common import build_network, classifier, softmax_loss, softmax_prior
from ltjax.methods.refusals import HEAD, MIX, SMOOTHING, TAU
from ltjax.methods.stage import Context
from ltjax.settings.identity import all_leaves, identity
from tests.methods.asynchronous import toy as asynchronous_toy
from tests.methods.expert_toys import BACKBONES
from tests.training import toy
from tests.training.step.test_micro_batches import batch_of, config_of

COUNTS = np.array(toy.COUNTS, float)
LOGITS, LABELS = np.random.RandomState(0).randn(6, 3).astype(np.float32), np.array([0, 1, 2, 2, 1, 0])
# an ingredient -> the settings that a test turns it on by
USED = {
    MIX: {MIX: "cutmix"},
    SMOOTHING: {SMOOTHING: 0.2, "loss.smoothing": "concave", "loss.tail_smoothing": 0.1},
    TAU: {TAU: 1.5},
    HEAD: {HEAD: "cosine"},
}


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    for name, backbone in BACKBONES.items():
        monkeypatch.setitem(models.BACKBONES, name, backbone)
    monkeypatch.setitem(models.BACKBONES, "toy", asynchronous_toy.Backbone)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_an_ingredient_or_refuses_it_in_one_line(method):
    """What it takes changes the first stage: its terms or its network."""

    def program(changes):
        stage = METHODS[method](config_of(method, {"dtype": "float32", **changes}), toy.build(None))[0]

        def terms(batch, key):
            context = Context(jnp.int32(0), jnp.int32(0), 10, jnp.float32(0), key, {}, {})
            variables = stage.network.init(key, batch[next(iter(batch))]["image"], train=False)
            params, model_state = variables["params"], {k: v for k, v in variables.items() if k != "params"}

            def apply(params, model_state, images, train=True, **options):
                network = stage.network
                outputs, changed = network.apply(
                    {"params": params, **model_state}, images, train=train, mutable=list(model_state), **options
                )
                return outputs, {**model_state, **changed}

            outcome = stage.objective(apply, params, model_state, batch, context)
            return [term.scale * term.mean() for term in outcome.terms.values()]

        return str(jax.make_jaxpr(terms)(batch_of(stage), jax.random.key(0)))

    plain = None
    for key, changes in USED.items():
        if key in METHODS[method].refuses:
            with pytest.raises(InputError, match=rf"^config.{key}: impossible value .* with config.method={method}: "):
                config_of(method, changes)
        else:
            plain = plain or program({})
            assert program(changes) != plain, key


def test_every_refusal_is_of_a_setting():
    known = all_leaves(toy.config("ce"))
    for name, method in METHODS.items():
        assert {key.partition("=")[0] for key in method.refuses} <= set(known), name
        assert all(why and not why.endswith(".") and "\n" not in why for why in method.refuses.values())


def config(**changes):
    return toy.config("ce", **changes)


def test_the_loss_is_that_of_the_settings():
    data, counts = toy.build(None), toy.COUNTS

    def close(expected, tau=None, **changes):
        loss = softmax_loss(config(**changes), data, tau)
        np.testing.assert_allclose(loss(LOGITS, LABELS), expected, rtol=1e-5)

    assert softmax_loss(config(), data) is cross_entropy
    close(logit_adjusted_loss(LOGITS, LABELS, class_counts=counts, tau=1.5), loss__tau=1.5)
    close(balanced_softmax_loss(LOGITS, LABELS, class_counts=counts), tau=1.0)
    close(cross_entropy(LOGITS, LABELS, label_smoothing=0.2), loss__label_smoothing=0.2)
    aware = {"loss__label_smoothing": 0.3, "loss__smoothing": "convex", "loss__tail_smoothing": 0.1}
    options = {"class_counts": counts, "head": 0.3, "tail": 0.1, "form": "convex"}
    close(label_aware_smoothing_loss(LOGITS, LABELS, **options), **aware)
    adjusted = LOGITS + 0.5 * np.log(COUNTS / COUNTS.sum())
    close(label_aware_smoothing_loss(adjusted, LABELS, **options), loss__tau=0.5, **aware)
    close(cross_entropy(adjusted, LABELS, label_smoothing=0.1), loss__tau=0.5, loss__label_smoothing=0.1)


def test_the_strengths_go_from_the_rarest_to_the_most_frequent_class():
    for form, middle in (("linear", 0.25), ("concave", 0.1 + 0.3 * np.sqrt(0.5)), ("convex", 0.4 - 0.3 * np.sqrt(0.5))):
        strengths = smoothing_strengths([30, 20, 10], 3, 0.4, 0.1, form)
        np.testing.assert_allclose(strengths, [0.4, middle, 0.1], rtol=1e-12)
        np.testing.assert_allclose(smoothing_strengths([7, 7, 7], 3, 0.4, 0.1, form), 0.4)
    with pytest.raises(ValueError, match="form: unknown value 'flat'"):
        smoothing_strengths([3, 2, 1], 3, 0.4, 0.1, "flat")


def test_the_prior_is_the_share_of_the_targets_over_the_adjustment():
    data = toy.build(None)

    def prior(**changes):
        found = softmax_prior(config(**changes), data)
        return None if found is None else found / found.sum()

    share = COUNTS / COUNTS.sum()
    np.testing.assert_allclose(prior(), share)
    np.testing.assert_allclose(prior(loss__tau=1.0), np.full(3, 1 / 3))
    np.testing.assert_allclose(prior(loss__tau=0.5), np.sqrt(COUNTS) / np.sqrt(COUNTS).sum())
    np.testing.assert_allclose(prior(loss__label_smoothing=0.2), 0.8 * share + 0.2 / 3)
    by_class = np.array([0.3, 0.1, 0.0])  # linear: (12 - 6) / (24 - 6) is a third
    targets = share * (1 - by_class) + np.sum(share * by_class) / 3
    changes = {"loss__label_smoothing": 0.3, "loss__smoothing": "linear"}
    np.testing.assert_allclose(prior(**changes), targets)
    np.testing.assert_allclose(prior(data__sampler="class_balanced", loss__tau=1.0), (1 / COUNTS) / (1 / COUNTS).sum())
    assert prior(data__sampler="progressive", loss__tau=1.0) is None
    for method, changes in (("ce", {}), ("cb_ce", {}), ("ce_drs", {}), ("triplet", {}), ("decoupling", {})):
        first = [METHODS[method](config_of(method, {TAU: tau, **changes}), data)[0].prior for tau in (0.0, 1.0)]
        np.testing.assert_allclose(first[1], first[0] / COUNTS)
    assert METHODS["ce"](config_of("ce", {MIX: "remix"}), data)[0].prior is None


def test_the_trained_posterior_is_that_of_the_prior():
    """The minimum of smoothed, adjusted cross-entropy on images that say nothing: the softmax is the prior."""
    data = toy.build(None)
    of = config(loss__label_smoothing=0.3, loss__smoothing="concave", loss__tail_smoothing=0.1, loss__tau=0.7)
    loss, labels = softmax_loss(of, data), data.train.labels
    gradient = jax.jit(jax.grad(lambda x: jnp.mean(loss(jnp.broadcast_to(x, (len(labels), 3)), labels))))
    logits = jnp.zeros(3)
    for _ in range(300):
        logits = logits - 2 * gradient(logits)
    prior = softmax_prior(of, data)
    np.testing.assert_allclose(jax.nn.softmax(logits), prior / prior.sum(), atol=1e-4)


def test_a_cosine_head_has_the_scale_of_its_settings():
    data, key = toy.build(None), jax.random.key(0)
    images = jnp.asarray(np.random.RandomState(0).randint(0, 255, (2, 8, 8, 1)), jnp.uint8)

    def made(**changes):
        of = config(model__backbone="toy", **changes)
        network = build_network(of, data, classifier(of, data))
        return jax.jit(lambda key: network.init_with_output(key, images, train=False))(key)

    outputs, variables = made(model__head="cosine", model__cosine_scale=7.0, model__learn_cosine_scale=True)
    kernel, features = variables["params"]["head"]["classifier"]["kernel"], outputs.features
    cosines = (features @ kernel) / np.linalg.norm(features, axis=1)[:, None] / np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(outputs.logits, 7 * cosines, rtol=1e-4)
    assert variables["params"]["head"]["scale"] == 7.0
    assert "scale" not in made(model__head="cosine")[1]["params"]["head"]
    assert "bias" in made()[1]["params"]["head"]["classifier"]


def test_older_runs_stay_the_same_run():
    new = {"mix", "loss"}
    before = {k: v for k, v in identity(config()).items()}
    assert not [key for key in before if key.partition(".")[0] in new or key.startswith(("model.head", "model.cosine"))]
    assert "mix.alpha" not in identity(config(mix__alpha=0.5))  # nothing is mixed
    assert identity(config(mix__name="remix"))["mix.kappa"] == 3.0
    assert identity(config(loss__label_smoothing=0.1))["loss.smoothing"] == "uniform"


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"loss.smoothing": "concave"}, "config.loss.smoothing: impossible value 'concave'; allowed: uniform with"),
        ({"loss.label_smoothing": 0.1, "loss.tail_smoothing": 0.1}, "config.loss.tail_smoothing: impossible value 0.1"),
        ({"mix.kappa": 0.5}, "config.mix.kappa: impossible value 0.5; allowed: a finite number >= 1"),
        ({"mix.name": "mixcut"}, "did you mean"),
    ],
)
def test_impossible_settings_are_refused(changes, told):
    recipe = toy.recipe("ce")
    recipe.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=told):
        configure.resolve(recipe)
