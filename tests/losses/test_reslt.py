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


def check(form, cases, options_of):
    """The loss, its parts and gradients of every case that has this form."""
    cases = {case: v for case, v in cases.items() if f"{form}_total" in v}
    given = {case: arguments(v)[1] for case, v in cases.items()}

    @jax.jit
    def found(given):  # one program for all cases compiles faster than one for each
        def of_one(case, logits):
            _, _, labels, masks = arguments(cases[case])
            options = {"branch_masks": masks, "alpha": float(cases[case]["alpha"])} | options_of(case)

            def total(x):
                loss = losses.reslt_loss(x, labels, **options)
                return loss.total, loss

            return jax.value_and_grad(total, has_aux=True)(logits)

        return {case: of_one(case, logits) for case, logits in given.items()}

    for case, ((_, loss), gradient) in found(given).items():
        v = cases[case]
        for field in ("total", "fusion", "branch"):
            expected = v[f"{form}_{field}"]
            np.testing.assert_allclose(getattr(loss, field), expected, rtol=2e-5, atol=1e-6, err_msg=f"{case} {field}")
        for name, g in zip(arguments(v)[0], gradient, strict=True):
            np.testing.assert_allclose(g, v[f"{form}_grad_{name}"], rtol=1e-4, atol=2e-6, err_msg=f"{case} {name}")


def test_authors_forms(reference):
    def options_of(case):
        return {"probability_epsilon": 1e-7, "fusion_epsilon": 1e-7 if case.startswith("imagenet") else 0.0}

    check("author", reference("reslt_loss"), options_of)


def test_exact_pooled_form(reference):
    check("pooled", reference("reslt_loss"), lambda case: {})


def test_papers_subset_means(reference):
    check("paper", reference("reslt_loss"), lambda case: {"divisor": "subset_means"})


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
