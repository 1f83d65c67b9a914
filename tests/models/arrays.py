"""Variables of a network without compiling its initialisation, and feature maps that pool to given features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def shapes(module, *inputs, **options):
    """The shapes of what `module` returns on `inputs`, and of its variables."""
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), *inputs, train=False, **options))


def random_variables(module, *inputs, seed=0):
    """Every array is random (statistics, scales and biases too), of a size that keeps activations near one."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        value, name = rng.normal(size=leaf.shape), path[-1].key
        if name == "kernel":
            value *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
        elif name == "var":
            value = 0.5 + value**2
        elif name == "scale":
            value = 1 + 0.2 * value
        else:
            value *= 0.2
        return jnp.asarray(value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes(module, *inputs)[1])


def paths(tree):
    """Every array's path, "a/b/c", and shape."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def as_map(features):
    """[B, d] -> a map [B, 2, 1, d] whose pooling gives them back, but whose pixels are others."""
    if isinstance(features, jax.Array):
        return jnp.stack([features + 0.5, features - 0.5], 1)[:, :, None, :]
    return np.stack([features + np.float32(0.5), features - np.float32(0.5)], 1)[:, :, None, :]


def run(module, variables, *inputs, train=False, **options):
    """The module on its inputs, as one compiled program."""
    return jax.jit(functools.partial(module.apply, train=train))(variables, *inputs, **options)
