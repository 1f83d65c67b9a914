"""Asynchronous modelling without training: its formulas on given numbers, its settings, its recipes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.asynchronous.exemplars import attention_entropy, imprinted, memory_bank
from ltjax.methods.asynchronous.settings import AsynchronousSettings
from ltjax.methods.asynchronous.stages import (
    first_phase_classes,
    graph_term,
    graph_weight,
    margin_term,
)
from ltjax.methods.stage import Previous
from ltjax.settings.identity import identity
from ltjax.training import prepare
from tests import recipes
from tests.methods.asynchronous.toy import Backbone, config, data


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", data)
    monkeypatch.setitem(models.BACKBONES, "toy", Backbone)


# --- terms and memory


def settings(**changes):
    return AsynchronousSettings(**changes)


@pytest.mark.parametrize("case", ["basic", "no_old_sample", "k1_m0.2"])
def test_the_margin_term_is_lucirs_or_the_papers(case, reference):
    given = reference("margin_ranking")[case]
    cosines, labels = jnp.asarray(given["cos"]), jnp.asarray(given["labels"])
    frequent = np.arange(cosines.shape[1]) < given["num_old"]
    ours = settings(margin=float(given["margin"]), margin_top_k=int(given["K"]))
    mean = margin_term(ours, cosines, labels, frequent).mean()
    np.testing.assert_allclose(mean, given["lucir_loss"], rtol=2e-5, atol=1e-6)
    for top_k, field in ((int(given["K"]), "topk_loss"), (0, "all_loss")):
        ours = dataclasses.replace(ours, margin_top_k=top_k, margin_scope="all", margin_reduction="sum")
        mean = margin_term(ours, cosines, labels, frequent).mean()
        np.testing.assert_allclose(mean, given[field], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["basic", "large_scale"])
def test_the_graph_term_and_its_entropy(case, reference):
    given = reference("graph_matching")[case]
    old, new = jnp.asarray(given["z_old"]), jnp.asarray(given["z_new"])
    for name, similarity in (("cos", "cosine"), ("negl2", "negative_l2")):
        ours = settings(normalize_features=False, similarity=similarity)
        for reduction, field in (("sum", "loss"), ("mean", "loss_mean")):
            ours = dataclasses.replace(ours, node_reduction=reduction)
            mean = graph_term(ours, old, new, 3.0).mean()
            np.testing.assert_allclose(mean, given[f"{name}_{field}"], rtol=1e-5)
        attention = given[f"{name}_attention"]
        logs = np.log(np.where(attention > 0, attention, 1))
        expected = -np.sum(attention * logs, axis=1).mean() / np.log(len(old))
        entropy = jax.jit(functools.partial(attention_entropy, similarity=similarity, normalize=False))(old, new)
        np.testing.assert_allclose(entropy, expected, rtol=1e-3, atol=1e-5)


def test_one_node_has_no_entropy_and_divides_by_nothing():
    assert float(attention_entropy(np.ones((1, 3)), np.ones((1, 3)))) == 0


def test_small_classes_are_kept_whole():
    labels = np.repeat([2, 5], [4, 30])
    bank = memory_bank(np.random.RandomState(0).randn(34, 3), labels, bank_size=6)
    assert len(set(bank)) == len(bank)
    assert np.bincount(labels[bank], minlength=6).tolist() == [0, 0, 4, 0, 0, 6]


def test_a_new_class_without_images_keeps_its_row():
    kernel = np.array([[3.0, 1.0, 7.0], [4.0, 1.0, 7.0]])
    given = {"params": {"head": {"classifier": {"kernel": kernel}}}}
    made = imprinted(given, np.array([[0.0, 2.0]]), np.array([1]), np.array([True, False, False]))
    np.testing.assert_allclose(made["params"]["head"]["classifier"]["kernel"], [[3, 0, 7], [4, 5, 7]])
    np.testing.assert_array_equal(given["params"]["head"]["classifier"]["kernel"], kernel)


# --- which classes, how much


def test_the_split_and_lambda_of_the_papers_data_sets(reference):
    counts = reference("cifar_lt_counts")
    places = reference("places_lt_counts")["counts"]
    weights = reference("loss_weight_lambda")
    expected = {"cifar100_exp_if100": 70, "cifar100_exp_if50": 82, "cifar100_exp_if200": 61}
    for name, number in expected.items():
        listed = counts[name]["counts"] if isinstance(counts[name], dict) else counts[name]
        assert first_phase_classes(0, np.array(listed)).sum() == number
    assert first_phase_classes(0, np.array(places)).sum() == 294
    for name in ("places_lt", "imagenet_lt", "cifar100_lt_if100"):
        old, new = weights[name]["num_old"], weights[name]["num_new"]
        weight = graph_weight(settings(lambda_base=2.0), np.arange(old + new) < old)
        assert weight == pytest.approx(2 * weights[name]["value"])


def test_an_explicit_split_counts_from_the_most_frequent():
    counts = np.array([6, 30, 22, 8, 22])
    assert np.flatnonzero(first_phase_classes(2, counts)).tolist() == [1, 2]
    assert np.flatnonzero(first_phase_classes(4, counts)).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("counts, words", [((20, 50), "every class has"), ((19, 2), "no class has")])
def test_a_split_that_leaves_a_phase_empty_is_one_line(counts, words):
    with pytest.raises(InputError, match=rf"config.asynchronous.split: .*{words}"):
        first_phase_classes(0, np.array(counts))


# --- stages


def test_the_phases_have_the_same_epochs_unless_told():
    assert [stage.epochs for stage in METHODS["asynchronous"](config(epochs=1), data())] == [1, 1]
    stages = METHODS["asynchronous"](config(second_stage_epochs=5, asynchronous__epoch_size=8), data())
    assert [(stage.epochs, stage.epoch_size) for stage in stages] == [(2, 52), (5, 8)]


def test_each_phase_has_its_own_optimizer_and_rates():
    made = config(second_stage_optimizer__learning_rate=0.5, second_stage_optimizer__backbone_rate=0.1)
    first, second = METHODS["asynchronous"](made, data())
    assert (first.optimizer.learning_rate, second.optimizer.learning_rate) == (0.02, 0.5)
    assert first.updates.rates == {}
    assert second.updates.rates == {"backbone": 0.1, "attention": 0.1, "head/fc": 0.1}  # only of what it has


def test_plain_is_one_phase_with_the_same_head_and_sampling():
    (stage,) = METHODS["asynchronous"](config(asynchronous__plain=True), data())
    first, second = METHODS["asynchronous"](config(), data())
    assert stage.network == first.network == second.network
    assert isinstance(stage.network.head, models.CosineHead) and not stage.network.backbone.final_relu
    assert stage.streams["image"].name == "progressive" and stage.epoch_size is None


def test_each_phase_has_its_own_sampler():
    """Section 3.2.1 speaks of progressively balanced sampling in the first phase only."""

    def samplers(**changes):
        return [stage.streams["image"].name for stage in METHODS["asynchronous"](config(**changes), data())]

    assert samplers() == ["progressive within"] * 2
    assert samplers(asynchronous__second_sampler="instance_balanced") == [
        "progressive within",
        "instance_balanced within",
    ]
    assert samplers(data__sampler="class_balanced", asynchronous__second_sampler="progressive") == [
        "class_balanced within",
        "progressive within",
    ]
    for changes in ({"asynchronous__second_sampler": "progresive"}, {"data__sampler": "progresive"}):
        key = next(iter(changes)).replace("__", r"\.")
        with pytest.raises(InputError, match=rf"^config\.{key}.*progresive.*progressive"):
            samplers(**changes)


def test_imprinting_can_be_switched_off():
    kernel = np.array([[3.0, 1.0, 2.0, 0.5], [4.0, -1.0, 0.0, 0.5]])
    taught = {"params": {"head": {"classifier": {"kernel": kernel}}}}

    def kernel_at_start(**changes):
        second = METHODS["asynchronous"](config(**changes), data())[1]
        features = np.random.RandomState(0).randn(66, 2)
        start = second.init(None, Previous("frequent", taught, {}), lambda variables, records: features[records])
        return start.variables["params"]["head"]["classifier"]["kernel"]

    rare, frequent = [0, 3], [1, 2]
    assert (kernel_at_start()[:, rare] != kernel[:, rare]).all()
    np.testing.assert_array_equal(kernel_at_start()[:, frequent], kernel[:, frequent])
    np.testing.assert_array_equal(kernel_at_start(asynchronous__imprint=False), kernel)


def test_settings_added_later_leave_the_identity_of_old_runs():
    old = identity(config())
    added = ("asynchronous.second_sampler", "asynchronous.imprint")
    assert not set(added) & set(old)
    assert "asynchronous.imprint" in identity(config(asynchronous__imprint=False))


# --- settings

BAD = {
    "split": 4,
    "bank_size": 0,
    "similarity": "dot",
    "lambda_base": -1.0,
    "lambda_value": float("inf"),
    "node_reduction": "max",
    "temperature": 0.0,
    "margin": -0.5,
    "margin_weight": -1.0,
    "margin_top_k": -1,
    "margin_scope": "rare",
    "margin_reduction": "max",
    "epoch_size": -1,
}


def test_every_setting_is_checked_or_a_switch():
    switches = {"plain", "normalize_features", "imprint"}
    names = {"second_sampler"}  # checked where it is looked up
    assert set(BAD) | switches | names == set(AsynchronousSettings().to_dict())


@pytest.mark.parametrize("key", BAD)
def test_an_impossible_setting_is_one_line(key):
    with pytest.raises(InputError, match=rf"^config.asynchronous.{key}: impossible value .* allowed: ") as error:
        METHODS["asynchronous"](config(**{f"asynchronous__{key}": BAD[key]}), data())
    assert "\n" not in str(error.value)


def test_a_batch_larger_than_a_phase_is_one_line():
    with pytest.raises(InputError, match=r"config.batch_size: 32 is larger than an epoch of 24 images"):
        prepare.prepare(config(batch_size=32))


def test_the_arguments_of_the_config_files():
    made = recipes.build("cifar100", "asynchronous", "bank=2,split=60,lambda=1.5,literal")
    block = made.asynchronous
    assert (block.bank_size, block.split, block.lambda_value, block.plain) == (2, 60, 1.5, False)
    assert (block.node_reduction, block.normalize_features, block.margin_top_k) == ("sum", False, 0)
    assert (block.margin_scope, block.margin_reduction) == ("all", "sum")
    assert recipes.build("cifar100", "asynchronous", "plain").asynchronous.plain
    with pytest.raises(InputError, match="impossible value '3' for 'plain'"):
        recipes.build("cifar100", "asynchronous", "plain=3")
    short = recipes.build("cifar100", "asynchronous", "short")
    own = short.optimizer.to_dict()
    assert own.pop("rate_rule") == "none"  # one for both phases
    assert own.pop("learning_rate") == 0.1
    assert short.second_stage_optimizer.to_dict() == own | {"learning_rate": 0.01}
    assert short.optimizer.schedule.name == "cosine"
    one = recipes.build("mnist5k", "asynchronous", "epochs=1")
    assert one.epochs == 1 and one.second_stage_optimizer.schedule.warmup_epochs == 0


def test_the_second_phase_learns_slower_but_for_the_word_that_has_algorithm_1():
    for name in ("cifar10", "cifar100", "imagenet", "places", "inat"):
        made = recipes.build(name, "asynchronous")
        assert made.second_stage_optimizer.learning_rate == pytest.approx(made.optimizer.learning_rate / 10)
        for words in ("one_rate", "plain"):  # a plain run has no second phase, and keeps its identity
            made = recipes.build(name, "asynchronous", words)
            assert made.second_stage_optimizer.learning_rate == made.optimizer.learning_rate
    with pytest.raises(InputError, match="impossible value '3' for 'one_rate'"):
        recipes.build("cifar100", "asynchronous", "one_rate=3")
