"""Decoupling: what each second stage starts from, what moves in it, what it draws, and what its closed forms give."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ltjax import models
from ltjax.data.sampling.counter_rng import name_id
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.decoupling.classifiers import part
from ltjax.methods.stage import ClosedForm, Previous, Start, Updates
from ltjax.training import loop, prepare
from ltjax.training.evaluation import Summary
from ltjax.training.step.state import create_state
from ltjax.training.step.step import make_train_step
from ltjax.training.workdir import results
from tests import recipes
from tests.training import toy


class Backbone(toy.Backbone):
    """The toy with a last ReLU that may be left out."""

    final_relu: bool = True

    def __call__(self, x, train=False, frozen_norm=False):
        made = super().__call__(x, train, frozen_norm)
        return made if self.final_relu else made - 1


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", toy.build)
    monkeypatch.setitem(models.BACKBONES, "toy", Backbone)


def config(second_stage="crt", **changes):
    usual = {"second_stage_epochs": 1, "decoupling__second_stage": second_stage, "decoupling__mlp_hidden": 6}
    cosine = {"second_stage_optimizer__schedule__name": "cosine", "second_stage_optimizer__schedule__unit": "step"}
    return toy.config("decoupling", second_stage=True, **(usual | cosine | changes))


def stages(settings, data=None):
    return METHODS["decoupling"](settings, toy.build(None) if data is None else data)


@pytest.fixture(scope="module")
def first():
    """Variables as a first stage leaves them: no two arrays are alike, the statistics are no fresh ones."""
    random = np.random.RandomState(7)
    made = toy.network().init(jax.random.key(7), jnp.zeros((1, 8, 8, 1), jnp.uint8), train=False)
    made = jax.tree.map(lambda a: np.asarray(a) + random.rand(*a.shape).astype(np.float32), made)
    made["params"]["backbone"]["norm"]["bias"] += 2  # so that the last ReLU leaves something of every image
    return made


def features_of(first, calls=None):
    """The loop's service, on the toy."""

    def features(variables, records, source=None):
        assert variables is first
        source = toy.build(None).train if source is None else source
        if calls is not None:
            calls.append(source)
        return np.asarray(toy.network().apply(variables, source.images(records)).features)

    return features


def begun(stage, first, features=None):
    """What the stage starts from."""
    with jax.disable_jit():  # a program for each of so many small networks would take longer
        return stage.init(jax.random.key(1), Previous("representation", first, {}), features or features_of(first))


def batch(stage, data, size=12):
    """The first batch that the stage draws."""
    ((name, sampler),) = stage.streams.items()
    tables = sampler.tables(data.train.labels, data.num_classes)
    records = np.asarray(sampler.draw(tables, 0, name_id(name), 0, np.arange(size)))
    return {name: {"image": data.train.images(records), "label": data.train.labels[records], "index": records}}


def flat(tree):
    return {path: np.asarray(array) for path, array in traverse_util.flatten_dict(tree, sep="/").items()}


def changed(before, after):
    before, after = flat(before), flat(after)
    assert before.keys() == after.keys()
    return {path for path in before if not np.array_equal(before[path], after[path])}


def after_a_step(stage, first):
    """The state before and after one step on balanced images."""
    state = create_state(stage, begun(stage, first), 0)
    with jax.disable_jit():
        return state, make_train_step(stage, 5)(state, {}, batch(stage, toy.build(None)))[0]


CLASSIFIER = {"head/classifier/kernel", "head/classifier/bias"}
BACKBONE = {"backbone/conv/kernel", "backbone/norm/scale", "backbone/norm/bias"}
# second stage and settings -> the parameters that move, and whether the batch statistics do
MOVES = {
    "crt": ({}, CLASSIFIER, False),
    "crt as the authors": ({"norm": "batch"}, CLASSIFIER, True),
    "crt of everything": ({"retrain": "all"}, CLASSIFIER | BACKBONE, True),
    "crt of everything, statistics frozen": ({"retrain": "all", "norm": "frozen"}, CLASSIFIER | BACKBONE, False),
    "lws": ({}, {"head/scale"}, False),
    "lws as the authors": ({"norm": "batch"}, {"head/scale"}, True),
    "tau": ({"tau_from": "learned"}, {"head/tau"}, False),
    "mlp": ({}, CLASSIFIER | {"head/fc1/kernel", "head/fc1/bias"}, False),
    "cosine": ({}, {"head/classifier/kernel", "head/scale"}, False),
}


SLOW = ("crt of everything", "crt of everything, statistics frozen", "lws as the authors", "mlp")


@pytest.mark.parametrize("case", [pytest.param(c, marks=pytest.mark.slow if c in SLOW else ()) for c in MOVES])
def test_what_moves_in_the_second_stage(case, first):
    settings, moving, statistics = MOVES[case]
    stage = stages(config(case.split()[0], **{f"decoupling__{key}": value for key, value in settings.items()}))[1]
    before, after = after_a_step(stage, first)
    assert changed(before.params, after.params) == moving
    assert changed(before.model_state, after.model_state) == (
        {"batch_stats/backbone/norm/mean", "batch_stats/backbone/norm/var"} if statistics else set()
    )


def test_the_backbone_has_a_rate_of_its_own(first):
    """Table 1's B+C with a tenth of the rate."""
    moved = []
    for factor in (1.0, 0.1):
        settings = config(decoupling__retrain="all", second_stage_optimizer__backbone_rate=factor)
        before, after = after_a_step(stages(settings)[1], first)
        move = jax.tree.map(lambda a, b: np.asarray(b - a), before.params, after.params)
        moved.append(flat(move))
    np.testing.assert_allclose(moved[1]["backbone/conv/kernel"], 0.1 * moved[0]["backbone/conv/kernel"], atol=1e-6)
    np.testing.assert_allclose(moved[1]["head/classifier/kernel"], moved[0]["head/classifier/kernel"], atol=1e-7)


@pytest.mark.parametrize("second", ["crt", "lws", "tau", "ncm", "mlp", "cosine"])
def test_what_the_second_stage_starts_from(second, first):
    """The representation is the first stage's; a re-trained classifier is a new one, a re-scaled one the old one."""
    stage = stages(config(second))[1]
    start = begun(stage, first).variables
    assert not changed(first["params"]["backbone"], start["params"]["backbone"])
    assert not changed(first["batch_stats"], start["batch_stats"])
    kept = {"lws", "tau"}
    if second != "ncm" and (second in kept or second == "crt"):
        new = changed(first["params"]["head"]["classifier"], start["params"]["head"]["classifier"])
        assert new == (set() if second in kept else {"kernel", "bias"})
    if second == "cosine":
        assert start["params"]["head"]["scale"] == 10 and "bias" not in start["params"]["head"]["classifier"]
        assert changed(
            {"kernel": first["params"]["head"]["classifier"]["kernel"]}, start["params"]["head"]["classifier"]
        )
    if second == "lws":  # the factors are 1, so nothing is different yet
        images = toy.build(None).test.images(np.arange(5))
        expected = toy.network().apply(first, images).logits
        np.testing.assert_allclose(stage.predict(start, images), expected, rtol=1e-6)


@pytest.mark.parametrize("second", ["crt", "lws", "mlp", "cosine", "tau"])
@pytest.mark.parametrize("images", [4, 2])
def test_every_class_is_drawn_as_often(second, images):
    settings = config(second, decoupling__images_per_class=images, decoupling__tau_from="learned")
    labels = batch(stages(settings)[1], toy.build(None), 12 * images)["image"]["label"]
    assert np.bincount(labels).tolist() == [4 * images] * 3
    assert all(len(set(visit)) == 1 for visit in labels.reshape(-1, images))


def test_a_visit_to_a_class_takes_the_four_images_of_the_authors_sampler():
    labels = batch(stages(config("crt"))[1], toy.build(None), 48)["image"]["label"].reshape(-1, 4)
    assert (labels == labels[:, :1]).all() and np.bincount(labels[:, 0]).tolist() == [4] * 3
    for dataset in recipes.BENCHMARKS:
        assert parse("", dataset).method_settings.images_per_class == 4, dataset


def test_without_the_last_relu_the_classifier_sees_signed_features_of_the_same_backbone(first):
    images = toy.build(None).test.images(np.arange(9))
    for relu in (True, False):
        stage = stages(config("cosine", decoupling__cosine_relu=relu))[1]
        features = stage.network.apply(begun(stage, first).variables, images).features
        expected = toy.network().apply(first, images).features - (0 if relu else 1)
        np.testing.assert_allclose(features, expected, atol=1e-6)


def test_the_first_stage_is_cross_entropy_with_its_own_sampler():
    for sampler in ("instance_balanced", "square_root", "progressive", "class_balanced"):
        (joint,) = stages(config("joint", data__sampler=sampler))
        first, second = stages(config("crt", data__sampler=sampler))
        for stage in (joint, first):
            assert (stage.name, stage.epochs, stage.updates) == ("representation", 2, Updates())
            assert stage.streams["image"].name == sampler
        assert second.streams["image"].name == "class_cycle" and second.epochs == 1
        assert not second.optimizer.schedule.warmup_epochs and second.optimizer.schedule.name == "cosine"


# ----------------------------------------------------------------------------------------------------------------- tau


def crafted():
    """Features and a kernel whose class-averaged accuracy is best at 0.4 and whose plain accuracy is best at 0.

    Class 0's weights are four times as long as the others', so class 0 beats class 1 at features (a, 1) where
    4^(1 - tau) a > 1: up to tau = 1 - log_4(1 / a).
    """
    kernel = np.zeros((4, 3), np.float32)
    kernel[0, 0], kernel[1, 1], kernel[2, 2] = 4, 1, 1
    rows = np.zeros((42, 4), np.float32)
    rows[:13, :2] = [4**-0.75, 1]  # of class 0, right up to 0.2
    rows[13:24, :2] = [4**-0.55, 1]  # of class 0, right up to 0.4
    rows[24:36, :2] = [4**-0.65, 1]  # of class 1, right from 0.4
    rows[36:, 2] = 1
    return rows, kernel


def with_kernel(first, kernel):
    head = {**first["params"]["head"], "classifier": {"kernel": kernel, "bias": np.full(3, 5.0, np.float32)}}
    return {**first, "params": {**first["params"], "head": head}}


def test_tau_on_train_is_the_best_by_class_averaged_accuracy(first):
    rows, kernel = crafted()
    labels = toy.build(None).train.labels
    plain = [np.mean(np.argmax(rows @ (kernel / [4**tau, 1, 1]), 1) == labels) for tau in (0.0, 0.4)]
    assert plain[0] > plain[1]  # so the plain accuracy would have chosen otherwise
    stage = stages(config("tau", decoupling__tau_from="train"))[1]
    start = begun(stage, with_kernel(first, kernel), lambda variables, records, source: rows[records])
    assert isinstance(stage, ClosedForm) and stage.report(start.variables) == {"tau": pytest.approx(0.4)}


def test_the_normalised_classifier_has_no_bias(first):
    _, kernel = crafted()
    variables = with_kernel(first, kernel)
    stage = stages(config("tau", decoupling__tau_from="value", decoupling__tau=0.5))[1]
    start = begun(stage, variables, features=pytest.fail)  # a given tau looks at no image
    images = toy.build(None).test.images(np.arange(6))
    features = toy.network().apply(variables, images).features
    np.testing.assert_allclose(stage.predict(start.variables, images), features @ (kernel / [2, 1, 1]), rtol=1e-5)


@pytest.mark.parametrize("tau_from, used", [("auto", "validation"), ("validation", "validation"), ("train", "train")])
def test_which_images_tau_is_chosen_on(tau_from, used, first):
    data = dataclasses.replace(toy.build(None), validation=toy.source((3, 3, 3), 5))
    calls = []
    begun(stages(config("tau", decoupling__tau_from=tau_from), data)[1], first, features_of(first, calls))
    assert calls == [getattr(data, used)]


def test_without_validation_images_auto_is_train_and_validation_an_error(first):
    calls, data = [], toy.build(None)
    begun(stages(config("tau"), data)[1], first, features_of(first, calls))
    assert calls == [data.train]
    with pytest.raises(InputError, match=r"^config.decoupling.tau_from: toy has no validation images.*validation_use"):
        stages(config("tau", decoupling__tau_from="validation"))


# ----------------------------------------------------------------------------------------------------------------- NCM


@pytest.mark.parametrize("kind", ["raw", "l2", "centered_l2"])
def test_class_means_are_those_of_all_training_features(kind, first):
    data = toy.build(None)
    stage = stages(config("ncm", decoupling__ncm_features=kind))[1]
    head = begun(stage, first).variables["params"]["head"]
    features = features_of(first)(first, np.arange(42)).astype(np.float64)
    center = features.mean(0)
    made = features - center if kind == "centered_l2" else features
    made = made if kind == "raw" else made / np.linalg.norm(made, axis=1, keepdims=True)
    np.testing.assert_allclose(head["means"], [made[data.train.labels == c].mean(0) for c in range(3)], atol=1e-6)
    np.testing.assert_allclose(head["center"], center, atol=1e-6)
    assert isinstance(stage, ClosedForm)


@pytest.mark.parametrize(
    "metric, field", [("euclidean", "l2_logits"), ("dot", "cos_logits"), ("cosine", "true_cos_logits")]
)
@pytest.mark.parametrize("kind, case", [("raw", "un"), ("l2", "l2n"), ("centered_l2", "cl2n")])
def test_ncm_scores_are_the_reference_s(kind, case, metric, field, first, reference):
    r = reference("ncm")[case]
    labels = r["train_labels"].astype(np.int32)
    train = dataclasses.replace(toy.build(None).train, labels=labels, index=np.arange(len(labels)))
    data = dataclasses.replace(toy.build(None), train=train, num_classes=9)
    stage = stages(config("ncm", decoupling__ncm_features=kind, decoupling__ncm_metric=metric), data)[1]
    start = begun(stage, first, lambda variables, records: r["train_features"][records])
    params = {name: start.variables["params"]["head"][name] for name in ("means", "center")}
    scores = stage.network.head.apply({"params": params}, r["test_features"][:, None, None, :], train=False)
    np.testing.assert_allclose(scores, r[field], rtol=1e-4, atol=1e-5)


# --------------------------------------------------------------------------------------------------- parts, whole runs


def blocks(count, stage):
    return {f"backbone/stage{stage}_block{i}" for i in range(count)}


@pytest.mark.parametrize(
    "depth, name, expected",
    [
        ("resnet8", "classifier", {"head/classifier"}),
        ("resnet20", "last_block", {"head", "backbone/stage3_block2"}),
        ("resnet20", "last_stage", {"head"} | blocks(3, 3)),
        ("resnet10", "last_block", {"head", "backbone/stage4_block0"}),
        ("resnet20", "all", set()),
    ],
)
def test_parts_of_a_network(depth, name, expected):
    network = dataclasses.replace(toy.network(), backbone=models.BACKBONES[depth]())
    assert set(part(name, network)) == expected


def test_a_backbone_that_names_no_parts_has_no_last_block():
    with pytest.raises(InputError, match=r"'last_block' needs a backbone that names .*trainable_parts.* use"):
        stages(config(decoupling__retrain="last_block"))


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_both_stages_in_one_run_are_a_joint_run_and_a_second_one_from_it(tmp_path, capsys):
    both = loop.train(config("crt", epochs=1), str(tmp_path / "both"))
    loop.train(config("joint", epochs=1), str(tmp_path / "joint"))
    joint = str(tmp_path / "joint")
    second = loop.train(config("crt", epochs=1, init_from=joint), str(tmp_path / "second"))
    assert second["per_class"] == both["per_class"]
    assert [line["stage"] for line in lines(tmp_path / "both")] == ["representation"] * 3 + ["crt"] * 3
    own = [line for line in lines(tmp_path / "both") if line["stage"] == "crt"]
    assert [line["loss"] for line in own] == [line["loss"] for line in lines(tmp_path / "second")]

    tau = loop.train(config("tau", epochs=1, init_from=joint), str(tmp_path / "tau"))
    assert set(tau["report"]) == {"tau"} and tau["step"] == 0
    assert json.loads((tmp_path / "tau" / "results.json").read_text())["report"] == tau["report"]
    assert lines(tmp_path / "tau")[-1]["report/tau"] == tau["report"]["tau"]
    assert f"tau: {tau['report']['tau']:.4g}" in capsys.readouterr().err
    raw, normalised = (np.load(tmp_path / run / "evaluation.npz")["weight_norms"] for run in ("joint", "tau"))
    np.testing.assert_allclose(normalised, raw ** (1 - tau["report"]["tau"]), rtol=1e-5)


def test_every_seed_reports_a_tau_of_its_own():
    settings = config("tau", num_seeds=2)
    variables = {"params": {"head": {"tau": np.array([0.3, 0.5])}}}
    reports = results.stage_reports(settings, stages(settings)[1], variables)
    assert reports == [{"tau": 0.3}, {"tau": 0.5}]
    assert results.stage_reports(settings, stages(settings)[0], variables) == [{}, {}]
    summary = Summary({"all": 1.0}, {}, [1.0])
    record = results.results_over_seeds(settings, [summary] * 2, None, reports)
    assert record["report"] == {"tau": 0.4} and record["per_seed"][1]["report"] == {"tau": 0.5}
    assert record["std"]["report"]["tau"] == pytest.approx(np.std([0.3, 0.5], ddof=1))


# ------------------------------------------------------------------------------------------------------------ settings


def parse(arguments, dataset="cifar100", *more):
    return recipes.parse(f"--config=configs/{dataset}_decoupling.py{arguments}", *more)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ("", {"second_stage": "crt", "retrain": "classifier", "norm": "auto"}),
        (":lws", {"second_stage": "lws"}),
        (":ncm,ncm_metric=cosine", {"second_stage": "ncm", "ncm_metric": "cosine"}),
        (":cosine", {"second_stage": "cosine", "cosine_relu": True}),
        (":cosine_norelu", {"second_stage": "cosine", "cosine_relu": False}),
        (":mlp,mlp_layers=3,mlp_hidden=512", {"second_stage": "mlp", "mlp_layers": 3, "mlp_hidden": 512}),
        (":tau,tau_from=learned", {"second_stage": "tau", "tau_from": "learned"}),
    ],
)
def test_the_words_behind_the_colon(arguments, expected):
    settings = parse(arguments).method_settings.to_dict()
    assert {key: settings[key] for key in expected} == expected


def test_where_tau_comes_from():
    assert parse(":tau").method_settings.tau_from == "auto"
    made = parse(":tau", "mnist5k").method_settings
    assert (made.tau_from, made.tau) == ("value", 0.4)
    assert parse(":tau,tau_from=value", "places").method_settings.tau == 0.8
    made = parse(":tau=0.5").method_settings
    assert (made.second_stage, made.tau_from, made.tau) == ("tau", "value", 0.5)


def test_short_is_short_for_both_stages():
    made = parse(":short,tau")
    assert made.epochs == 10 and made.second_stage_optimizer.nesterov
    assert made.second_stage_optimizer.weight_decay == made.optimizer.weight_decay == 5e-4


@pytest.mark.parametrize(
    "words, moving",
    [
        ("crt", 2),
        ("crt,retrain=last_block,backbone_rate=0.1", 2 + 2 * 3),  # two convolutions, two batch norms
        ("lws", 1),
        ("tau,tau_from=learned", 1),
        ("mlp,mlp_layers=3", 6),
        ("cosine_norelu", 2),
    ],
)
def test_a_step_of_the_second_stage_as_it_is_configured(words, moving):
    """Traced, not run, on MNIST-5k's own backbone."""
    settings = parse(f":{words}", "mnist5k")
    data = dataclasses.replace(toy.build(None), image_shape=(28, 28, 1))
    stage = stages(settings, data)[1]
    images = jax.ShapeDtypeStruct((settings.batch_size, 28, 28, 1), jnp.uint8)
    row = jax.ShapeDtypeStruct((settings.batch_size,), jnp.int32)

    def make(key):
        return create_state(stage, Start(stage.network.init(key, images=jnp.zeros((1, 28, 28, 1), jnp.uint8))), 0)

    state = jax.eval_shape(make, jax.random.key(0))
    after, metrics = jax.eval_shape(
        make_train_step(stage, 7), state, {}, {"image": {"image": images, "label": row, "index": row}}
    )
    assert after == state and metrics["loss"].shape == ()
    assert len(jax.tree.leaves(state.opt_state)) == moving
    assert stage.epochs == (5 if words == "lws" else 10)
    assert stage.updates.norm == ("batch" if "retrain" in words else "frozen")


@pytest.mark.parametrize(
    "change",
    [
        {"second_stage": "crtt"},
        {"representation": "head"},
        {"norm": "none"},
        {"images_per_class": 0},
        {"retrain": "backbone"},
        {"tau_from": "test"},
        {"tau": -1.0},
        {"ncm_features": "l3"},
        {"ncm_metric": "l2"},
        {"mlp_layers": 1},
        {"mlp_hidden": 0},
        {"cosine_scale": 0.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_impossible_settings_are_one_line(change):
    ((key, value),) = change.items()
    with pytest.raises(InputError, match=rf"^config\.decoupling\.{key}: impossible value .*; allowed: ") as error:
        stages(config(**{f"decoupling__{key}": value}))
    assert "\n" not in str(error.value)


def test_only_crt_retrains_more_than_a_classifier():
    with pytest.raises(InputError, match=r"config\.decoupling\.retrain: impossible value 'all'; allowed: .*classifier"):
        stages(config("lws", decoupling__retrain="all"))


@pytest.mark.parametrize(
    "override", ["epochs=0", "optimizer.learning_rate=0.0", "optimizer.momentum=1.0", "optimizer.schedule.name=cosin"]
)
def test_impossible_schedules_of_the_second_stage_are_one_line(override):
    with pytest.raises(InputError, match=rf"config\.second_stage_{override.partition('=')[0]}"):
        parse("", "mnist5k", f"--config.second_stage_{override}")
