"""The second stage that is solved: it ends where descent on balanced batches goes, and says how near."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import models
from ltjax.errors import InputError
from ltjax.methods import METHODS
from ltjax.methods.decoupling import lbfgs
from ltjax.methods.decoupling.lbfgs import balanced_optimum
from ltjax.methods.stage import ClosedForm, Previous
from tests.training import toy

DECAY = 5e-3


def problem(count=50, size=4, classes=3):
    random = np.random.RandomState(0)
    labels = random.choice([0, 1, 3], count, p=[0.7, 0.2, 0.1])  # class 2 has no image
    features = random.rand(count, size) + np.eye(classes + 1, size)[labels]
    return features, labels, {"bias": np.zeros(classes + 1), "kernel": random.randn(size, classes + 1)}


def linear(params, rows):
    return rows @ params["kernel"] + params["bias"]


def by_hand(params, features, labels):
    """Value and gradient of the objective, in float64."""
    logits = linear(params, features)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    weights = 1 / np.bincount(labels)[labels] / 3  # classes that have images
    value = -np.sum(weights * np.log(shares[np.arange(len(labels)), labels]))
    slope = weights[:, None] * (shares - np.eye(shares.shape[1])[labels])
    squares = sum(np.sum(array**2) for array in params.values())
    gradient = {"kernel": features.T @ slope, "bias": slope.sum(0)}
    return value + DECAY / 2 * squares, {name: gradient[name] + DECAY * params[name] for name in params}


@pytest.fixture(scope="module")
def descended():
    """Value and parameters after many steps of plain gradient descent."""
    features, labels, point = problem()
    for _ in range(8_000):
        value, gradient = by_hand(point, features, labels)
        point = {name: point[name] - 0.5 * gradient[name] for name in point}
    return value, point


@pytest.mark.parametrize("rows", [7, 50, 4096])  # parts with a remainder, one exact part, one part
def test_it_is_where_gradient_descent_ends(rows, descended, monkeypatch, tmp_path):
    monkeypatch.setattr(lbfgs, "ROWS", rows)
    (value, point), (features, labels, start) = descended, problem()
    np.save(tmp_path / "features.npy", features)
    with jax.enable_x64(True):
        for given in (features, np.load(tmp_path / "features.npy", mmap_mode="r")):
            found = balanced_optimum(linear, start, given, labels, weight_decay=DECAY, tolerance=1e-12)
            assert abs(found.value - value) < 2e-12 and found.above <= 1e-12
            for name, array in point.items():
                assert found.params[name].dtype == np.float64
                np.testing.assert_allclose(found.params[name], array, atol=1e-4)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_it_is_no_further_above_the_minimum_than_it_says(tolerance):
    features, labels, start = problem()
    start = jax.tree.map(np.float32, start)
    found = balanced_optimum(
        linear, start, features.astype(np.float32), labels, weight_decay=DECAY, tolerance=tolerance
    )
    with jax.enable_x64(True):
        least = balanced_optimum(linear, problem()[2], features, labels, weight_decay=DECAY, tolerance=1e-12).value
    params = jax.tree.map(np.float64, found.params)
    assert found.params["kernel"].dtype == np.float32
    assert -1e-6 < by_hand(params, features, labels)[0] - least <= found.above + 1e-6 <= tolerance + 1e-6
    assert abs(by_hand(params, features, labels)[0] - found.value) < 1e-5


def test_where_it_does_not_get_there_one_line_says_so(monkeypatch):
    features, labels, start = problem()
    with pytest.raises(InputError, match=r"config\.decoupling\.solver: after .* passes .* take solver=sgd"):
        balanced_optimum(linear, start, features, labels, weight_decay=DECAY, tolerance=0.0)
    monkeypatch.setattr(lbfgs, "MOST", 2)
    with pytest.raises(InputError, match=r"after [34] passes"):
        balanced_optimum(linear, start, features, labels, weight_decay=DECAY)


# -------------------------------------------------------------------------------------------------------- as a stage


def stages(monkeypatch, name="crt", **changes):
    monkeypatch.setitem(models.BACKBONES, "toy", toy.Backbone)
    solved = {"decoupling__second_stage": name, "decoupling__cached": True, "decoupling__solver": "lbfgs"}
    config = toy.config("decoupling", second_stage=True, **(solved | changes))
    return config, METHODS["decoupling"](config, toy.build(None))


@pytest.mark.parametrize("name, moves", [("crt", ("kernel", "bias")), ("lws", ("scale",))])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_trained_by_steps_is_what_is_solved(name, moves, dtype, monkeypatch):
    config, (first, second) = stages(monkeypatch, name, dtype=dtype)
    assert second.name == name and isinstance(second, ClosedForm)
    images, labels = toy.build(None).train.images(np.arange(42)), toy.build(None).train.labels
    before = first.network.init(jax.random.key(0), images, train=False)
    rows = np.asarray(second.representation.apply(before, images, train=False).features)
    previous = Previous("representation", before, {})
    made = second.init(jax.random.key(1), previous, lambda *_: rows).variables["params"]

    def objective(head):
        if name == "lws":
            logits = (rows @ made["head"]["classifier"]["kernel"] + made["head"]["classifier"]["bias"]) * head["scale"]
        else:
            logits = linear(head, rows)
        losses = -jax.nn.log_softmax(logits)[jnp.arange(42), labels]
        each = jnp.stack([jnp.mean(losses[labels == c]) for c in range(3)])
        squares = sum(jnp.sum(array**2) for array in head.values())
        return jnp.mean(each) + config.second_stage_optimizer.weight_decay / 2 * squares

    head = {**made["head"], **made["head"]["classifier"]}
    gradient = jax.grad(objective)({key: head[key] for key in moves})
    squares = sum(float(jnp.sum(array**2)) for array in jax.tree.leaves(gradient))
    assert squares / (2 * config.second_stage_optimizer.weight_decay) < 2e-4
    jax.tree.map(np.testing.assert_array_equal, made["backbone"], before["params"]["backbone"])
    if name == "lws":
        jax.tree.map(np.testing.assert_array_equal, made["head"]["classifier"], before["params"]["head"]["classifier"])


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"decoupling__solver": "newton"}, "solver: impossible value 'newton'; allowed: one of sgd, lbfgs"),
        ({"decoupling__cached": False}, "sgd without cached=True"),
        ({"decoupling__second_stage": "mlp"}, "sgd for mlp; lbfgs finds crt and lws"),
        ({"second_stage_optimizer__weight_decay": 0.0}, "weight_decay: impossible value 0.0 with solver=lbfgs"),
    ],
)
def test_what_has_no_one_minimum_is_refused_in_one_line(changes, says, monkeypatch):
    with pytest.raises(InputError) as caught:
        stages(monkeypatch, **changes)
    assert says in str(caught.value) and "\n" not in str(caught.value)
