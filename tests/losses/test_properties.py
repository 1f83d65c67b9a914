"""What must hold of every public loss; ``catalogue`` names the exceptions and their reasons."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.losses.catalogue import ENTRIES, NUM_CLASSES, SOME, ids, public_losses


def entries(without: str, every: bool = True):
    """Parametrises over the entries that have no exception from a property.

    A loss's further options are slow, and without ``every`` all losses but ``SOME``.
    """
    chosen = [e for e in ENTRIES if without not in e.exceptions]
    names = [e.name for e in chosen]
    slow = [e.name in names[:i] or not (every or e.name in SOME) for i, e in enumerate(chosen)]
    marks = [pytest.mark.slow if one else () for one in slow]
    parameters = [pytest.param(e, marks=m) for e, m in zip(chosen, marks, strict=True)]
    return pytest.mark.parametrize("entry", parameters, ids=ids(chosen))


def assert_finite(tree):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def test_every_public_loss_is_listed():
    assert {e.name for e in ENTRIES} == public_losses()


@pytest.mark.parametrize("entry", ENTRIES, ids=ids(ENTRIES))
def test_values_are_those_of_the_formula(entry):
    for seed in range(3):
        x, y = entry.inputs(seed=seed)
        expected = entry.formula(np.asarray(x, np.float64), np.asarray(y))
        np.testing.assert_allclose(entry.compiled(x, y), expected, rtol=1e-4, atol=1e-5)


@entries("outside")
def test_a_label_outside_is_nan_not_the_loss_of_another_class(entry):
    if "labels" not in inspect.signature(entry.function).parameters:
        return
    x, y = entry.inputs()
    y = np.array(y)
    y[[1, 3]] = -1, NUM_CLASSES
    got = np.isnan(entry.compiled(x, y))
    assert got.tolist() == ([False, True, False, True, False, False] if entry.per_example else True)


@entries("traced", every=False)
def test_options_that_are_numbers_may_be_traced(entry):
    options = entry.scalars()
    if not options:
        return
    x, y = entry.inputs()
    traced = jax.jit(lambda options: entry.loss(x, y, **options))(options)
    np.testing.assert_allclose(traced, entry.compiled(x, y), rtol=1e-5)


@entries("jit", every=False)
def test_jit_changes_nothing(entry):
    x, y = entry.inputs()
    with jax.disable_jit():
        plain = entry.loss(x, y)
    np.testing.assert_allclose(entry.compiled(x, y), plain, rtol=2e-5, atol=1e-6)


@entries("vmap")
def test_vmap_is_a_loop(entry):
    if entry.per_example:
        # Over the examples: each stands alone.
        x, y = entry.inputs()
        got = jax.jit(jax.vmap(entry.loss, in_axes=(entry.batch_axis, 0)))(x, y)
        np.testing.assert_allclose(got, entry.compiled(x, y), rtol=1e-5, atol=1e-6)
        return
    batches = [entry.inputs(seed=s) for s in range(3)]
    x, y = (np.stack(parts) for parts in zip(*batches, strict=True))
    expected = [entry.compiled(*b) for b in batches]
    np.testing.assert_allclose(jax.jit(jax.vmap(entry.loss))(x, y), expected, rtol=1e-5, atol=1e-6)


@entries("leading", every=False)
def test_leading_shapes_are_arbitrary(entry):
    x, y = map(np.asarray, entry.inputs((6,)))
    flat, shapes = entry.compiled(x, y), [(2, 3), (1, 6, 1)]
    given = [(x.reshape(*x.shape[: entry.batch_axis], *shape, -1), y.reshape(shape)) for shape in shapes]
    if entry.per_example:
        given += [(x[..., 0, :], y[0]), (x[..., :0, :], y[:0])]
    found = jax.jit(lambda given: [entry.loss(*one) for one in given])(given)
    for leading, got in zip(shapes, found, strict=False):
        expected = np.reshape(flat, leading) if entry.per_example else flat
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    if entry.per_example:
        one, none = found[2:]
        assert one.shape == () and none.shape == (0,)
        np.testing.assert_allclose(one, flat[0], rtol=1e-5, atol=1e-6)


@entries("where")
def test_masked_examples_count_nowhere_whatever_they_hold(entry):
    x, y = map(np.asarray, entry.inputs(seed=1))
    keep = np.array([True, False, True, True, False, True])
    expected = entry.compiled(x[..., keep, :], y[keep])
    for garbage in (0.0, np.nan, np.inf, -np.inf, 1e30):
        dirty = np.where(keep[:, None], x, np.float32(garbage))
        labels = np.where(keep, y, -1)
        got = entry.compiled(dirty, labels, keep)
        if entry.per_example:
            assert got[~keep].tolist() == [0, 0]
            got = got[keep]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@entries("where", every=False)
def test_masked_examples_have_no_gradient_and_spoil_no_other(entry):
    x, y = map(np.asarray, entry.inputs(seed=1))
    keep = np.array([True, False, True, True, False, True])
    for garbage in (0.0, np.nan, np.inf, -np.inf, 1e30):
        dirty, labels = np.where(keep[:, None], x, np.float32(garbage)), np.where(keep, y, -1)
        _, gradient = jax.device_get(entry.value_and_grad(dirty, labels, keep))
        assert_finite(gradient)
        assert (gradient[..., ~keep, :] == 0).all()


@entries("where", every=False)
def test_everything_masked_is_zero_with_a_zero_gradient(entry):
    x, y = entry.inputs()
    value, gradient = jax.device_get(entry.value_and_grad(x, y, np.zeros(6, bool)))
    assert value == 0
    assert (gradient == 0).all()


@entries("extreme")
@pytest.mark.parametrize("size", [1e4, 1e-30, 0.0])
def test_extreme_inputs_stay_finite(entry, size):
    x, y = entry.inputs(seed=2)
    x = np.where(np.asarray(x) > 0, np.float32(size), np.float32(-size))  # with equal entries among them
    assert_finite(entry.value_and_grad(x, y))


@entries("extreme")
@pytest.mark.parametrize("label", range(NUM_CLASSES))
def test_right_and_wrong_with_certainty_stay_finite(entry, label):
    x, y = entry.inputs()
    certain = np.tile(np.eye(2, NUM_CLASSES) * 1e4, (3, 1)) * np.array([[1], [1], [-1], [-1], [1], [1]])
    x = np.broadcast_to(certain, x.shape).astype(np.float32)
    assert_finite(entry.value_and_grad(x, np.full(6, label, y.dtype)))


@entries("dtype", every=False)
def test_halves_are_computed_in_float32(entry):
    x, y = entry.inputs()
    halves = [x.astype(dtype) for dtype in (jnp.bfloat16, jnp.float16)]

    @jax.jit
    def found(halves, y):
        return [(entry.loss(half, y), jax.grad(entry.scalar)(half, y)) for half in halves]

    for half, (got, gradient) in zip(halves, found(halves, y), strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, entry.compiled(np.asarray(half, np.float32), y), rtol=1e-5, atol=1e-6)
        assert gradient.dtype == half.dtype


@entries("dtype")
def test_float64_stays_float64(entry):
    x, y = entry.inputs()
    single = entry.compiled(x, y)
    with jax.enable_x64(True):
        wide = jax.jit(entry.loss)(np.asarray(x, np.float64), np.asarray(y))
        assert wide.dtype == jnp.float64
    np.testing.assert_allclose(single, wide, rtol=1e-4, atol=1e-5)


@entries("dtype", every=False)
def test_labels_of_any_integer_dtype(entry):
    x, y = entry.inputs()
    labels = [np.asarray(y).astype(dtype) for dtype in (np.uint8, np.int64, np.int16)]
    for got in jax.jit(lambda x, labels: [entry.loss(x, y) for y in labels])(x, labels):
        np.testing.assert_array_equal(got, entry.compiled(x, y))


@entries("soft", every=False)
def test_soft_labels_that_are_hard_give_the_same(entry):
    x, y = entry.inputs()
    if entry.name == "mixup_loss":
        # The catalogue reverses soft labels for the second one; compare a mixture with itself.
        y = jnp.full_like(y, NUM_CLASSES // 2)
        np.testing.assert_allclose(
            entry.loss(x, jax.nn.one_hot(y, NUM_CLASSES)), jax.nn.logsumexp(x, -1) - x[..., 2], rtol=1e-5
        )
        return
    soft = jax.nn.one_hot(y, NUM_CLASSES)
    np.testing.assert_allclose(entry.compiled(x, soft), entry.compiled(x, y), rtol=1e-5, atol=1e-6)
    (_, hard_gradient), (_, soft_gradient) = entry.value_and_grad(x, y), entry.value_and_grad(x, soft)
    np.testing.assert_allclose(soft_gradient, hard_gradient, rtol=1e-4, atol=1e-6)


@entries("soft", every=False)
def test_soft_labels_have_right_gradients(entry):
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        x, _ = entry.inputs()
        soft = jnp.asarray(rng.dirichlet(np.ones(NUM_CLASSES), 6))
        scalar = jax.jit(lambda x: entry.scalar(x, soft))
        check_grads(scalar, (jnp.asarray(x, jnp.float64),), order=1, modes=["fwd", "rev"])


@entries("shift")
def test_a_constant_added_to_the_logits_changes_nothing(entry):
    x, y = entry.inputs()
    constant = np.random.default_rng(4).normal(size=(6, 1)).astype(np.float32)
    np.testing.assert_allclose(entry.compiled(x + constant, y), entry.compiled(x, y), rtol=2e-5, atol=1e-5)


@entries("check_grads", every=False)
def test_gradients_are_those_of_finite_differences(entry):
    with jax.enable_x64(True):
        x, y = entry.inputs(seed=5)
        x, where = jnp.asarray(x, jnp.float64), jnp.arange(6) % 3 != 0
        scalar = jax.jit(lambda x: entry.scalar(x, y, where))
        check_grads(scalar, (x,), order=1, modes=["fwd", "rev"], eps=1e-5)
