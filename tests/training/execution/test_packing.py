"""Packing: the same tree again, and fewer arrays in the loop."""

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.training.execution.packing import FEWEST, groups, pack, scan_packed, scan_steps, unpack

TREE = {
    "same": [jnp.arange(6.0).reshape(2, 3) + i for i in range(FEWEST)],
    "other dtype": [jnp.full((2, 3), i) for i in range(FEWEST)],
    "few": [jnp.full(5, i) for i in range(FEWEST - 1)],
    "scalar": jnp.uint32(2**32 - 1),
    "empty": {},
}


def equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_a_tree_is_the_same_after_packing():
    packed = pack(TREE)
    assert sorted(x.shape for x in packed) == [(), (FEWEST, 2, 3), (FEWEST, 2, 3), *[(5,)] * (FEWEST - 1)]
    equal(unpack(packed, TREE), TREE)
    equal(unpack(packed, jax.eval_shape(lambda: TREE)), TREE)


def test_every_leaf_is_in_one_group():
    assert sorted(i for group in groups(TREE) for i in group) == list(range(len(jax.tree.leaves(TREE))))


def test_a_scan_has_the_same_results_and_packs_every_seed_by_itself():
    def step(trees):
        results = [{"sum": tree["same"][1].sum(), "few": tree["few"], "one": tree["scalar"] + 1} for tree in trees]
        return [jax.tree.map(lambda x: x * 2 + 1, tree) for tree in trees], results

    equal(scan_packed(step, [TREE, TREE], 3), scan_steps(step, [TREE, TREE], 3))
    scan = jax.make_jaxpr(lambda trees: scan_packed(step, trees, 3)[0])([TREE, TREE]).eqns
    (one,) = (eqn for eqn in scan if eqn.primitive.name == "scan")
    # the carry, and of all steps the sum, what is few as one array, and the one integer
    assert len(one.outvars) == 2 * len(pack(TREE)) + 2 * 3
