"""The ResLT head, both forms, against the authors' public module; the linear head."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.models import LinearHead, ResLTHead

CONV_CASES = [f"conv_{order}_gamma{gamma}" for order in ("prepool", "postpool") for gamma in ("0.0", "0.3", "0.7")]
TOLERANCE = {"float32": (1e-4, 1e-5), "float64": (1e-10, 1e-10)}


def classifier(r):
    return {"kernel": r["fc_weight"].T, "bias": r["fc_bias"]}


def head_and_variables(case, r, dtype):
    """The head of one reference case with the reference's weights."""
    if case == "bn_head":
        params = {f"norm{k}": {"scale": r[f"BN{b}_weight"], "bias": r[f"BN{b}_bias"]} for k, b in enumerate("HMT")}
        stats = {f"norm{k}": {"mean": r[f"BN{b}_mean"], "var": r[f"BN{b}_var"]} for k, b in enumerate("HMT")}
        head = ResLTHead(10, form="bn", dtype=dtype)
    else:
        params = {
            "conv": {"kernel": r["conv_weight"].transpose(2, 3, 1, 0)},
            "norm": {"scale": r["bn_weight"], "bias": r["bn_bias"]},
        }
        stats = {"norm": {"mean": r["bn_mean"], "var": r["bn_var"]}}
        before = bool(r["conv_before_pool_in_training"])
        head = ResLTHead(10, form="conv", conv_before_pool_in_training=before, gamma=float(r["gamma"]), dtype=dtype)
    variables = {"params": {**params, "classifier": classifier(r)}, "batch_stats": stats}
    return head, jax.tree.map(lambda a: jnp.asarray(a, dtype), variables)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [*CONV_CASES, "bn_head"])
def test_branch_logits_and_statistics_agree_with_the_reference(case, dtype, reference):
    r = reference("reslt_head")[case]
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        head, variables = head_and_variables(case, r, dtype)
        feature_map = jnp.asarray(r["feature_map"].transpose(0, 2, 3, 1), dtype)
        evaluated = head.apply(variables, feature_map, train=False)
        trained, after = head.apply(variables, feature_map, train=True, mutable=["batch_stats"])
        assert evaluated.dtype == trained.dtype == dtype
        for k, branch in enumerate("HMT"):
            np.testing.assert_allclose(evaluated[k], r[f"eval_{branch}"], *TOLERANCE[dtype])
            np.testing.assert_allclose(trained[k], r[f"train_{branch}"], *TOLERANCE[dtype])
        np.testing.assert_allclose(evaluated.sum(0), r["eval_fused"], *TOLERANCE[dtype])
        names = {f"norm{k}": f"BN{b}" for k, b in enumerate("HMT")} if case == "bn_head" else {"norm": "bn"}
        for ours, theirs in names.items():
            for leaf in ("mean", "var"):
                np.testing.assert_allclose(
                    after["batch_stats"][ours][leaf], r[f"new_{theirs}_{leaf}"], *TOLERANCE[dtype]
                )


@pytest.mark.parametrize("form", ["bn", "conv"])
@pytest.mark.parametrize("branches", [1, 2, 3, 5])
def test_any_number_of_branches(form, branches):
    head = ResLTHead(7, branches=branches, form=form)
    x = jax.random.normal(jax.random.key(1), [4, 3, 3, 6])
    logits, variables = head.init_with_output(jax.random.key(0), x, train=True)
    assert logits.shape == (branches, 4, 7)
    extra = branches * 2 * 6 if form == "bn" else branches * (6 * 6 + 2 * 6)
    assert sum(p.size for p in jax.tree.leaves(variables["params"])) == 6 * 7 + 7 + extra


def test_without_gamma_evaluation_keeps_weights_and_bias(reference):
    r = reference("reslt_head")["conv_postpool_gamma0.3"]
    head, variables = head_and_variables("conv_postpool_gamma0.3", r, "float32")
    feature_map = jnp.asarray(r["feature_map"].transpose(0, 2, 3, 1))
    plain = ResLTHead(10, form="conv", conv_before_pool_in_training=False)
    rescaled = head.apply(variables, feature_map, train=False)
    norms = np.linalg.norm(r["fc_weight"], axis=1)
    expected = np.asarray(rescaled) * norms**0.3 + r["fc_bias"]
    np.testing.assert_allclose(plain.apply(variables, feature_map, train=False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["bn", "conv"])
def test_frozen_norm_leaves_the_statistics_of_the_branches(form):
    head = ResLTHead(3, form=form)
    x = jax.random.normal(jax.random.key(1), [4, 3, 3, 6])
    variables = head.init(jax.random.key(0), x, train=True)
    logits, after = head.apply(variables, x, train=True, frozen_norm=True, mutable=["batch_stats"])
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, variables["batch_stats"], after["batch_stats"])))
    assert not np.allclose(logits, head.apply(variables, x, train=True, mutable=["batch_stats"])[0])


def test_linear_head_is_the_mean_of_the_map_times_the_kernel():
    x = np.random.default_rng(0).normal(size=[2, 3, 4, 5]).astype(np.float32)
    logits, variables = LinearHead(6).init_with_output(jax.random.key(0), x, train=False)
    c = jax.device_get(variables["params"]["classifier"])
    np.testing.assert_allclose(logits, x.mean((1, 2)) @ c["kernel"] + c["bias"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kwargs", "message"), [({"form": "linear"}, "allowed: bn, conv"), ({"branches": 0}, "0")])
def test_bad_settings_are_named_in_one_line(kwargs, message):
    with pytest.raises(InputError, match=message):
        ResLTHead(3, **kwargs).init(jax.random.key(0), jnp.zeros([2, 3, 3, 4]), train=False)
