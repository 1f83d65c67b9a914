"""LFME: the groups, what each expert sees, the two schedules by hand, and a run that resumes inside every stage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses, models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.lfme import confidences, expert_weight, first_weights, instance_weights
from ltjax.methods.stage import Context
from ltjax.training import loop, open_stage, prepare
from ltjax.training.interrupt import Interrupted
from tests.methods.asynchronous import toy as four
from tests.training import toy
from tests.training.test_loop import stop_at

# labels 0 to 3 have 6, 30, 22 and 8 images: two medium-shot and two few-shot classes
FEW, MEDIUM = np.array([True, False, False, True]), np.array([False, True, True, False])


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    monkeypatch.setattr(prepare, "build", four.data)
    monkeypatch.setitem(models.BACKBONES, "toy", four.Backbone)


def config_of(**changes):
    return toy.config("lfme", second_stage=True, **({"epochs": 1, "second_stage_epochs": 1} | changes))


def context_of(epoch=0, epochs=10, frozen=None, extras=None):
    key = jax.random.key(0)
    return Context(jnp.int32(0), jnp.int32(epoch), epochs, jnp.float32(0), key, frozen or {}, extras or {})


def test_the_rarest_group_comes_first_and_a_class_alone_has_no_expert():
    assert [stage.name for stage in METHODS["lfme"](config_of(), four.data())] == ["few", "medium", "student"]
    with_boundaries = config_of(baseline__boundaries=(1, 2))  # of the most frequent class, the next, the others
    assert [stage.name for stage in METHODS["lfme"](with_boundaries, four.data())] == ["few", "student"]


@pytest.mark.parametrize(
    ("boundaries", "words"),
    [((1, 4), "numbers below 4"), ((2, 1), "two ascending numbers"), ((1,), "two ascending numbers")],
)
def test_impossible_boundaries_are_one_line(boundaries, words):
    with pytest.raises(InputError, match=f"config.baseline.boundaries: impossible value .*{words}"):
        METHODS["lfme"](config_of(baseline__boundaries=boundaries), four.data())


def test_an_expert_sees_the_images_of_its_group_and_tells_its_classes_apart():
    stage = METHODS["lfme"](config_of(), four.data())[0]
    start = stage.init(jax.random.key(0), None, None)
    labels = four.data().train.labels
    drawn = stage.streams["image"].draw(start.tables["image"], 0, 1, 0, np.arange(14))
    assert sorted(drawn.tolist()) == np.flatnonzero(FEW[labels]).tolist() and stage.epoch_size == 14
    logits, given = np.random.RandomState(0).standard_normal((3, 4)).astype(np.float32), np.array([0, 3, 3])

    def apply(params, model_state, images):
        return models.Outputs(logits, logits), model_state

    outcome = stage.objective(apply, {}, {}, {"image": {"image": None, "label": given}}, context_of())
    expected = losses.cross_entropy(logits[:, [0, 3]], np.array([0, 1, 1]))
    np.testing.assert_allclose(outcome.terms["classification"].values, expected, rtol=1e-6)
    predicted = stage.predict(start.variables, jnp.zeros((2, 8, 8, 1), jnp.uint8))
    assert set(np.argmax(predicted, -1).tolist()) <= {0, 3}


def test_the_student_s_loss_by_hand_and_the_counts_of_an_epoch():
    stage = METHODS["lfme"](config_of(), four.data())[-1]
    rng = np.random.RandomState(1)
    logits = rng.standard_normal((4, 4)).astype(np.float32)
    labels, index = np.array([0, 3, 1, 2]), np.array([0, 64, 8, 40])
    images = jnp.zeros((4, 8, 8, 1), jnp.uint8)
    variables = stage.network.init(jax.random.key(1), images)
    teacher = np.asarray(stage.network.apply(variables, images).logits)
    weights = np.linspace(0.1, 0.9, 66).astype(np.float32)
    frozen = {"experts": {"few": variables, "medium": variables}, "weights": weights}
    counts = {"few": jnp.array([6.5, 10.0, 20.0]), "medium": jnp.array([0.0, 5.0, 10.0])}  # few: (10 - 6.5) / 10 / 0.7
    extras = {"epoch": jnp.int32(0), "now": counts, "last": jax.tree.map(jnp.zeros_like, counts)}

    def apply(params, model_state, images):
        return models.Outputs(logits, logits), model_state

    batch = {"image": {"image": images, "label": labels, "index": index}}
    outcome = stage.objective(apply, {}, {}, batch, context_of(1, 10, frozen, extras))
    curriculum = weights[index] + (1 - weights[index]) * 0.4  # the second of the first five epochs
    np.testing.assert_allclose(
        outcome.terms["classification"].values, curriculum * losses.cross_entropy(logits, labels), rtol=1e-5
    )
    for name, columns, weight in (("few", [0, 3], 0.5), ("medium", [1, 2], 1.0)):
        expected = losses.distillation_loss(logits[:, columns], teacher[:, columns], temperature=2.0)
        np.testing.assert_allclose(outcome.terms[name].values, expected, rtol=1e-5, atol=1e-7)
        assert float(outcome.terms[name].scale) == pytest.approx(weight)
        assert float(outcome.extras["now"][name][2]) == 2, "an epoch has begun, so that its batch alone counts"
        np.testing.assert_array_equal(outcome.extras["last"][name], counts[name])
    within = stage.objective(apply, {}, {}, batch, context_of(1, 10, frozen, outcome.extras)).extras
    assert float(within["now"]["few"][2]) == 4 and float(within["last"]["few"][2]) == 20


def test_an_expert_that_is_always_wrong_keeps_its_weight():
    assert float(expert_weight(jnp.array([0.0, 0.0, 5.0]), 0.3)) == 1


def test_the_curriculum_ends_at_its_part_of_the_epochs():
    start = np.array([0.2, 1.0])
    found = [instance_weights(start, context_of(epoch), 0.5).tolist() for epoch in (0, 4, 9)]
    np.testing.assert_allclose(found, [[0.36, 1], [1, 1], [1, 1]], rtol=1e-6)
    assert instance_weights(start, context_of(0), 0.0).tolist() == [1, 1]


def test_confidences_are_probabilities_among_the_group_and_stretched_in_each_class():
    kernel, bias = np.eye(4, dtype=np.float32), np.zeros(4, np.float32)
    variables = {"params": {"head": {"classifier": {"kernel": kernel, "bias": bias}}}}
    features = np.array([[0, 9, 9, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    found = confidences(features, np.array([0, 0, 3]), variables, FEW)
    np.testing.assert_allclose(found, [0.5, np.e / (1 + np.e), np.e / (1 + np.e)], rtol=1e-6)
    np.testing.assert_allclose(first_weights(found, np.array([0, 0, 3]), 0.25), [0.25, 1, 1])


@pytest.mark.slow
def test_a_run_resumes_inside_every_stage_and_each_stage_starts_from_the_pretrained_weights(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(open_stage, "with_pretrained", lambda variables, path, report: read.append(path) or variables)
    for check in ("check_pretrained", "check_fit"):  # there is no such file
        monkeypatch.setattr(loop, check, lambda *arguments: None)
    config = config_of(epochs=2, log_every_steps=1, model__pretrained="weights.npz", watch_classes=(0, 1))
    whole = loop.train(config, str(tmp_path / "whole"))
    assert read == ["weights.npz"] * 3
    stop_at(monkeypatch, 1, 5, 12)
    for _ in range(3):
        with pytest.raises(Interrupted):
            loop.train(config, str(tmp_path / "stopped"))
    resumed = loop.train(config, str(tmp_path / "stopped"))
    for key in ("train_loss_last_epoch", "accuracy"):
        assert resumed[key] == whole[key], key
