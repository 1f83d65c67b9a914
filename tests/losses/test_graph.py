"""Graph matching in blocks: the plain form's values and gradients, without its memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses

OLD = jax.random.normal(jax.random.key(0), (53, 16))
NEW = OLD + 0.5 * jax.random.normal(jax.random.key(1), (53, 16))


def weighted(new, weights, **options):
    return jnp.sum(weights * losses.graph_matching_loss(OLD, new, **options))


@pytest.mark.parametrize("similarity, normalize", [("cosine", True), ("cosine", False), ("negative_l2", False)])
@pytest.mark.parametrize("block_size", [1, 7, 100])
def test_blocks_agree_with_the_plain_form(similarity, normalize, block_size):
    weights = jax.random.normal(jax.random.key(2), (53,))
    options = {
        "similarity": similarity,
        "normalize": normalize,
        "temperature": 0.3,
        "where": jnp.arange(53) % 5 != 2,
    }
    plain = jax.value_and_grad(weighted)(NEW, weights, **options)
    blocks = jax.value_and_grad(weighted)(NEW, weights, **options, block_size=block_size)
    np.testing.assert_allclose(blocks[0], plain[0], rtol=1e-5)
    np.testing.assert_allclose(blocks[1], plain[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "negative_l2"])
def test_no_square_of_the_batch_is_held_forward_or_backward(similarity):
    def compiled(block_size):
        def loss(new, old):
            return losses.graph_matching_loss(old, new, similarity=similarity, block_size=block_size).mean()

        features = jax.ShapeDtypeStruct((768, 16), jnp.float32)
        return jax.jit(jax.value_and_grad(loss)).lower(features, features).compile()

    plain, blocks = compiled(None), compiled(32)
    assert "[768,768]" in plain.as_text()
    assert "[768,768]" not in blocks.as_text()
    assert "[24,32,768]" not in blocks.as_text()  # nor stacked block by block
    assert blocks.memory_analysis().temp_size_in_bytes < plain.memory_analysis().temp_size_in_bytes / 4


def test_no_gradient_flows_into_the_old_features():
    gradient = jax.grad(lambda old: losses.graph_matching_loss(old, NEW).sum())(OLD)
    assert (gradient == 0).all()


@pytest.mark.parametrize("block_size", [None, 2])
@pytest.mark.parametrize("similarity", ["cosine", "negative_l2"])
def test_coinciding_nodes_have_distance_zero_and_finite_gradients(similarity, block_size):
    same = jnp.concatenate([jnp.ones((3, 16)), jnp.zeros((1, 16))])
    options = {"similarity": similarity, "block_size": block_size}
    mu = losses.graph_matching_loss(same[:3], same[:3], **options)
    assert mu.tolist() == [0, 0, 0]
    for normalize in (True, False):
        gradient = jax.grad(lambda z, n=normalize: losses.graph_matching_loss(same, z, normalize=n, **options).sum())(
            same
        )
        assert np.isfinite(gradient).all()


def test_near_the_threshold_a_distance_counts_as_zero():
    old = jnp.array([[1.0, 0.0]])
    # |z|^2 + |z'|^2 = 2, so that the threshold on the squared distance is 2e-6.
    for gap, counted in ((1e-3, False), (2e-3, True)):
        mu = losses.graph_matching_loss(old, old + jnp.array([[0.0, gap]]), normalize=False)
        assert (mu[0] > 0) == counted


def test_attention_sharpens_as_the_temperature_falls():
    mu = [losses.graph_matching_loss(OLD, NEW, temperature=t).mean() for t in (1.0, 0.1, 0.01)]
    assert mu[0] > mu[1] > mu[2]
