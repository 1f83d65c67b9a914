"""ResLT against the authors' forms, the pooled exact form and the paper's: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import losses

BRANCHES = ("H", "M", "T")


def arguments(v):
    names = [n for n in BRANCHES if f"logits_{n}" in v]
    masks = [np.ones_like(v["mask_mt"]), v["mask_mt"], v["mask_t"]][: len(names)]
    return names, jnp.stack([v[f"logits_{n}"] for n in names]), v["labels"], np.stack(masks)


def check(v, form, case, **options):
    names, logits, labels, masks = arguments(v)

    def total(x):
        loss = losses.reslt_loss(x, labels, branch_masks=masks, alpha=float(v["alpha"]), **options)
        return loss.total, loss

    (_, loss), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(logits)
    for field in ("total", "fusion", "branch"):
        expected = v[f"{form}_{field}"]
        np.testing.assert_allclose(getattr(loss, field), expected, rtol=2e-5, atol=1e-6, err_msg=f"{case} {field}")
    for name, g in zip(names, gradient, strict=True):
        np.testing.assert_allclose(g, v[f"{form}_grad_{name}"], rtol=1e-4, atol=2e-6, err_msg=f"{case} {name}")


def test_authors_forms(reference):
    for case, v in reference("reslt_loss").items():
        fusion = 1e-7 if case.startswith("imagenet") else 0.0
        check(v, "author", case, probability_epsilon=1e-7, fusion_epsilon=fusion)


def test_exact_pooled_form(reference):
    for case, v in reference("reslt_loss").items():
        if "pooled_total" in v:
            check(v, "pooled", case)


def test_papers_subset_means(reference):
    for case, v in reference("reslt_loss").items():
        if "paper_total" in v:
            check(v, "paper", case, divisor="subset_means")


def test_terms_reduce_to_the_loss(reference):
    v = reference("reslt_loss")["cifar100_alpha0.99"]
    _, logits, labels, masks = arguments(v)
    terms = losses.reslt_terms(logits, labels, branch_masks=masks)
    pooled = losses.weighted_mean(terms.branch, terms.branch_weights)
    np.testing.assert_allclose(pooled, v["pooled_branch"], rtol=2e-5)
    assert float(terms.branch_weights.sum()) == len(labels) + v["mask_mt"][labels].sum() + v["mask_t"][labels].sum()


@pytest.mark.parametrize(
    "masks, message",
    [
        (np.ones((2, 4), bool), "expected shape"),
        (np.array([[True, True, False], [True] * 3]), "class 2 is missing"),
    ],
)
def test_bad_masks_raise(masks, message):
    with pytest.raises(ValueError, match=message):
        losses.reslt_loss(jnp.zeros((2, 5, 3)), jnp.zeros(5, int), branch_masks=masks, alpha=0.5)


def test_masks_may_be_traced():
    masks = np.array([[True] * 3, [False, True, True]])
    logits, labels = jax.random.normal(jax.random.key(0), (2, 5, 3)), jnp.array([0, 1, 2, 0, 1])
    plain = losses.reslt_loss(logits, labels, branch_masks=masks, alpha=0.5)
    traced = jax.jit(lambda m: losses.reslt_loss(logits, labels, branch_masks=m, alpha=0.5))(masks)
    np.testing.assert_allclose(traced, plain, rtol=1e-6)
