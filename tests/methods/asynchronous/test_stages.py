"""Asynchronous modelling: what each phase of a run sees, keeps and moves, and how it resumes."""

import dataclasses
import functools
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ltjax import models
from ltjax.data.sampling.counter_rng import name_id
from ltjax.losses import cross_entropy, graph_matching_loss
from ltjax.methods import METHODS
from ltjax.methods.stage import Context, Previous
from ltjax.training import loop, prepare
from ltjax.training.interrupt import Interrupted
from ltjax.training.step.step import make_apply
from ltjax.training.workdir.checkpoint import checkpoints
from tests.methods.asynchronous.toy import BANK, FREQUENT, Backbone, config, data
from tests.training.test_loop import same, stop_at


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", data)
    monkeypatch.setitem(models.BACKBONES, "toy", Backbone)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run: 2 epochs of 6 steps on the 52 frequent images, 2 of 3 steps on 10 exemplars and 14 rare ones."""
    folder = tmp_path_factory.mktemp("asynchronous")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build", data)
        patch.setitem(models.BACKBONES, "toy", Backbone)
        results = loop.train(config(), str(folder))
        stages = METHODS["asynchronous"](config(), data())
    with checkpoints(folder / "checkpoints" / "rare", keep=None) as saved:
        second = saved.restore_start()
    return types.SimpleNamespace(folder=folder, results=results, stages=stages, second=second)


def state(folder, stage, step):
    """The restored state of a checkpoint, as nested dictionaries."""
    return ocp.StandardCheckpointer().restore(folder / "checkpoints" / stage / str(step) / "state")


@functools.cache
def features_program():
    network = METHODS["asynchronous"](config(), data())[0].network
    return jax.jit(lambda variables, images: network.apply(variables, images, train=False).features)


def features(trained, records):
    """Of training images, without augmentation, by a program of the test's own."""
    images = np.stack([data().train.read(int(r)) for r in range(66)])
    return np.asarray(features_program()(trained, images))[records]


@functools.cache
def variables(folder, stage, step):
    restored = state(folder, stage, step)
    return {"params": restored["params"], **restored["model_state"]}


def paths(tree):
    return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --- the first phase


def batch_of(classes):
    """All training images of these classes, as an objective gets them."""
    train = data().train
    records = np.flatnonzero(np.isin(train.labels, classes))
    images = np.stack([train.read(int(r)) for r in records])
    return {"image": {"image": jnp.asarray(images), "label": jnp.asarray(train.labels[records])}}


def test_masking_absent_classes_equals_truncating_the_classifier(run):
    stage, batch = run.stages[0], batch_of([1, 2])
    start = variables(run.folder, "frequent", 12)
    apply, stats = make_apply(stage), {"batch_stats": start["batch_stats"]}
    small = dataclasses.replace(stage.network, head=models.CosineHead(2))

    def masked(params):
        return stage.objective(apply, params, stats, batch, None).terms["classification"].mean()

    def truncated(params):
        images, labels = batch["image"]["image"], batch["image"]["label"] - 1
        outputs, _ = small.apply({"params": params, **stats}, images, train=True, mutable=["batch_stats"])
        return jnp.mean(cross_entropy(outputs.logits, labels))

    def cut(params):
        kernel = params["head"]["classifier"]["kernel"][:, FREQUENT]
        return {**params, "head": {**params["head"], "classifier": {"kernel": kernel}}}

    loss, gradient = jax.jit(jax.value_and_grad(masked))(start["params"])
    expected_loss, expected = jax.jit(jax.value_and_grad(truncated))(cut(start["params"]))
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    np.testing.assert_array_equal(gradient["head"]["classifier"]["kernel"][:, ~FREQUENT], 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), cut(gradient), expected)
    assert np.any(expected["backbone"]["conv"]["kernel"])


def test_the_first_phase_never_answers_a_rare_class(run):
    images = batch_of([0, 1, 2, 3])["image"]["image"]
    answers = np.argmax(jax.jit(run.stages[0].predict)(variables(run.folder, "frequent", 12), images), -1)
    assert set(answers.tolist()) <= {1, 2}


def test_every_phase_learns_from_its_classes_alone(run):
    """class_loss/c is only logged when an image of class c was in a batch."""
    seen = {name: set() for name in ("frequent", "rare")}
    for line in lines(run.folder):
        seen[line["stage"]] |= {int(key.split("/")[1]) for key in line if key.startswith("class_loss/")}
    assert seen == {"frequent": {1, 2}, "rare": {0, 1, 2, 3}}
    assert [max(r["step"] for r in lines(run.folder) if r["stage"] == name) for name in seen] == [12, 18]
    assert run.results["step"] == 18 and run.results["epochs"] == 4


# --- memory, imprinting, teacher


def by_hand(features, per_class):
    """Equations 2 to 5 on one class's features, in float64; no example twice."""
    features = np.asarray(features, np.float64)

    def cosines(query):
        return features @ query / np.linalg.norm(features, axis=1) / np.linalg.norm(query)

    centre = features.mean(0)
    picked, query = [], centre
    while len(picked) < min(per_class, len(features)):
        scores = cosines(query)
        scores[picked] = -np.inf
        picked.append(int(np.argmax(scores)))
        similar = np.exp(cosines(centre)[picked])  # equation 3
        z = similar / similar.sum() @ features[picked]  # equation 4
        query = centre + (centre - z)  # equation 5
    return picked


def test_the_memory_is_what_the_equations_give_on_the_first_phases_features(run):
    labels, trained = data().train.labels, variables(run.folder, "frequent", 12)
    everywhere = features(trained, np.arange(66))
    assert everywhere.min() < 0 < everywhere.max()  # no ReLU at the end
    expected = []
    for label in (1, 2):
        records = np.flatnonzero(labels == label)
        expected += records[by_hand(everywhere[records], BANK)].tolist()
    members = run.second["tables"]["image"]["members"]
    assert members[: 2 * BANK].tolist() == expected
    assert sorted(members[2 * BANK :]) == np.flatnonzero(np.isin(labels, [0, 3])).tolist()


def test_the_teacher_is_the_first_phase_as_it_ended(run):
    same(paths(variables(run.folder, "frequent", 12)), paths(run.second["frozen"]["teacher"]))


def test_rare_rows_are_imprinted_and_nothing_else_is_touched(run):
    before = variables(run.folder, "frequent", 12)
    start = variables(run.folder, "rare", 0)
    kernel, old = (paths(v)["['params']['head']['classifier']['kernel']"] for v in (start, before))
    np.testing.assert_array_equal(kernel[:, FREQUENT], old[:, FREQUENT])
    length = np.mean([np.linalg.norm(old[:, c]) for c in (1, 2)])
    for c in (0, 3):
        own = features(before, data().train.labels == c)
        mean = np.mean([f / np.linalg.norm(f) for f in own], axis=0)
        np.testing.assert_allclose(kernel[:, c], length * mean / np.linalg.norm(mean), rtol=1e-5, atol=1e-6)
    others = [{p: a for p, a in paths(v).items() if "classifier" not in p} for v in (start, before)]
    same(*others)


# --- the second phase


def test_all_weights_move_in_the_second_phase(run):
    start, end = (paths(variables(run.folder, "rare", step)["params"]) for step in (0, 6))
    assert start.keys() == end.keys() and "['head']['scale']" in end
    for path in start:
        assert np.any(start[path] != end[path]), path
    columns = paths(variables(run.folder, "rare", 0))["['params']['head']['classifier']['kernel']"]
    moved = end["['head']['classifier']['kernel']"] != columns
    assert moved.any(0).all()  # old and new rows alike


def test_the_second_phase_draws_memory_and_rare_images_progressively(run):
    stage, table = run.stages[1], run.second["tables"]["image"]
    labels, sampler = data().train.labels, stage.streams["image"]
    assert stage.epoch_size == len(table["members"]) == 2 * BANK + 14

    def shares(epoch):
        records = sampler.draw(table, 0, name_id("image"), epoch, np.arange(4000))
        assert set(records) == set(table["members"])
        return np.bincount(labels[records], minlength=4) / 4000

    np.testing.assert_allclose(shares(0), np.array([6, 5, 5, 8]) / 24, atol=0.03)
    np.testing.assert_allclose(shares(1), np.full(4, 1 / 4), atol=0.03)


@pytest.fixture(scope="module")
def start(run):
    """The second phase where it starts, all images as one batch, and what its two networks make of them."""
    trained = variables(run.folder, "rare", 0)
    batch, teacher = batch_of([0, 1, 2, 3]), run.second["frozen"]["teacher"]
    passed = jax.jit(lambda v, x: run.stages[1].network.apply(v, x, train=True, mutable=["batch_stats"]))
    student, changed = passed(trained, batch["image"]["image"])
    kernel = np.asarray(trained["params"]["head"]["classifier"]["kernel"])
    z = np.asarray(student.features)
    return types.SimpleNamespace(
        params=trained["params"],
        stats={"batch_stats": trained["batch_stats"]},
        batch=batch,
        labels=np.asarray(batch["image"]["label"]),
        teacher=teacher,
        old=features(teacher, np.arange(66)),
        student=student,
        changed=changed,
        cosines=z @ kernel / np.linalg.norm(z, axis=1, keepdims=True) / np.linalg.norm(kernel, axis=0),
    )


def outcome(stage, start, teacher):
    context = Context(0, 0, 2, 0.0, None, {"teacher": teacher}, {})
    return stage.objective(make_apply(stage), start.params, start.stats, start.batch, context)


def test_the_terms_are_those_of_equation_9_and_the_teacher_has_no_gradient(run, start):
    def loss(teacher):
        made = outcome(run.stages[1], start, teacher)
        means = {name: term.mean() for name, term in made.terms.items()}
        return sum(term.scale * term.mean() for term in made.terms.values()), (means, made.model_state)

    teacher = jax.tree.map(jnp.asarray, start.teacher)
    gradient, (means, model_state) = jax.jit(jax.grad(loss, has_aux=True))(teacher)
    for array in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(array, 0)
    assert set(means) == {"classification", "graph", "margin"}
    np.testing.assert_allclose(means["classification"], np.mean(cross_entropy(start.student.logits, start.labels)))
    assert not np.allclose(start.old, start.student.features)  # evaluation beside training mode
    expected = np.mean(graph_matching_loss(start.old, start.student.features))
    np.testing.assert_allclose(means["graph"], expected, rtol=1e-5)
    memory = np.isin(start.labels, [1, 2])
    pairs = zip(start.cosines[memory], start.labels[memory], strict=True)
    expected = np.mean([max(0, 0.5 - c[y] + c[k]) for c, y in pairs for k in (0, 3)])
    np.testing.assert_allclose(means["margin"], expected, rtol=1e-5)
    kept = paths(model_state)
    for path, array in paths(start.changed).items():  # the student's statistics; the teacher leaves none
        np.testing.assert_allclose(kept[path], array, rtol=1e-6)


def test_literal_readings_and_a_given_lambda(start):
    literal = config(
        asynchronous__node_reduction="sum",
        asynchronous__normalize_features=False,
        asynchronous__margin_top_k=0,
        asynchronous__margin_scope="all",
        asynchronous__margin_reduction="sum",
        asynchronous__lambda_value=0.25,
    )
    stage = METHODS["asynchronous"](literal, data())[1]
    means, scale = jax.jit(lambda teacher: _means(outcome(stage, start, teacher)))(start.teacher)
    nodes = graph_matching_loss(start.old, start.student.features, normalize=False)
    np.testing.assert_allclose(means["graph"], np.sum(nodes), rtol=1e-5)
    assert scale == 0.25
    expected = [
        sum(max(0, 0.5 - c[y] + c[k]) for k in range(4) if k != y)
        for c, y in zip(start.cosines, start.labels, strict=True)
    ]
    np.testing.assert_allclose(means["margin"], np.mean(expected), rtol=1e-5)


def _means(made):
    return {name: term.mean() for name, term in made.terms.items()}, made.terms["graph"].scale


def test_the_run_logs_its_terms_and_their_weighted_sum(run):
    rare = [line for line in lines(run.folder) if line["stage"] == "rare"]
    assert rare and all("loss/graph" not in line for line in lines(run.folder) if line["stage"] == "frequent")
    for line in rare:
        parts = sum(line[f"loss/{name}"] for name in ("classification", "graph", "margin"))  # lambda is 1 here
        assert line["loss"] == pytest.approx(parts, rel=1e-5)
        assert 0 < line["attention_entropy"] <= 1 and 0 <= line["accuracy"] <= 1


# --- whole runs


def test_an_interrupted_run_goes_on_inside_and_between_the_phases(run, tmp_path, monkeypatch):
    stop_at(monkeypatch, 5, 12, 15)  # inside the first, at its end, inside the second
    for _ in range(3):
        with pytest.raises(Interrupted):
            loop.train(config(), str(tmp_path))
    results = loop.train(config(), str(tmp_path))
    assert [(r["stage"], r["step"]) for r in results["resumes"]] == [("frequent", 5), ("frequent", 12), ("rare", 3)]
    same(paths(state(run.folder, "rare", 6)), paths(state(tmp_path, "rare", 6)))
    assert lines(run.folder) == lines(tmp_path)
    assert run.results["per_class"] == results["per_class"]


def test_the_second_phase_of_another_seed_has_another_memory_of_the_same_shape(run):
    second, (before, other) = run.stages[1], (variables(run.folder, "frequent", step) for step in (12, 0))
    starts = [second.init(jax.random.key(0), Previous("frequent", v, {}), features) for v in (before, other)]
    shapes = [jax.tree.map(np.shape, start._asdict()) for start in starts]
    assert shapes[0] == shapes[1]
    ours, theirs = (start.tables["image"]["members"] for start in starts)
    np.testing.assert_array_equal(ours, run.second["tables"]["image"]["members"])
    assert set(ours[: 2 * BANK]) != set(theirs[: 2 * BANK]) and set(ours[2 * BANK :]) == set(theirs[2 * BANK :])
