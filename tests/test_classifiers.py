"""Classifiers on given features: against the reference vectors, by hand, and at their edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import classifiers, losses
from ltjax.classifiers import exemplars

KINDS = {"un": "raw", "l2n": "l2", "cl2n": "centered_l2"}


@pytest.mark.parametrize("case", KINDS)
def test_nearest_class_mean_agrees_with_the_reference(case, reference):
    v = reference("ncm")[case]
    kind, mean = KINDS[case], v["feature_mean"]
    train = classifiers.ncm_transform(v["train_features"], kind, mean=mean)
    means = classifiers.class_means(train, v["train_labels"], 9)
    np.testing.assert_allclose(means, v["centroids"], rtol=1e-4, atol=1e-6)
    test = classifiers.ncm_transform(v["test_features"], kind, mean=mean)
    euclidean = classifiers.ncm_logits(test, means, metric="euclidean")
    np.testing.assert_allclose(euclidean, v["l2_logits"], rtol=1e-4, atol=1e-5)
    dot = classifiers.ncm_logits(test, means, metric="dot")
    np.testing.assert_allclose(dot / test.shape[1], v["cos_logits"], rtol=1e-4, atol=1e-5)
    cosine = classifiers.ncm_logits(test, means)
    np.testing.assert_allclose(cosine, v["true_cos_logits"], rtol=1e-4, atol=1e-5)
    for logits, predictions in ((euclidean, "l2_pred"), (dot, "cos_pred"), (cosine, "true_cos_pred")):
        np.testing.assert_array_equal(logits.argmax(1), v[predictions])


def test_the_mean_of_centered_features_is_their_own_by_default(reference):
    v = reference("ncm")["cl2n"]
    given = classifiers.ncm_transform(v["train_features"], "centered_l2", mean=v["feature_mean"])
    own = classifiers.ncm_transform(v["train_features"], "centered_l2")
    np.testing.assert_allclose(own, given, rtol=1e-4, atol=1e-6)


def test_class_means_of_a_long_class_far_from_the_origin_are_exact():
    rng = np.random.default_rng(0)
    features = (1000 + rng.normal(size=(200_000, 2))).astype(np.float32)
    means = classifiers.class_means(features, np.zeros(200_000, int), 1)
    np.testing.assert_allclose(means[0], features.astype(np.float64).mean(0), rtol=1e-7)


@pytest.mark.parametrize("kind", ["raw", "centered_l2"])
def test_class_means_of_rows_are_class_means_where_they_fit_and_float64s_else(kind, tmp_path, monkeypatch):
    rng = np.random.default_rng(2)
    labels = rng.integers(-1, 6, 1003)
    labels[labels == 4] = 5  # a class without examples
    np.save(tmp_path / "x.npy", (3 + rng.normal(size=(1003, 8))).astype(np.float32))
    features = np.load(tmp_path / "x.npy", mmap_mode="r")
    center = features.mean(0)

    def transform(rows):
        return classifiers.ncm_transform(rows, kind, center)

    whole = classifiers.class_means_of_rows(features, labels, 6, transform)
    np.testing.assert_array_equal(whole, classifiers.class_means(transform(features), labels, 6))
    monkeypatch.setattr("ltjax.classifiers.nearest_mean.AT_ONCE", 100 * 8 * 4)
    parts = classifiers.class_means_of_rows(features, labels, 6, transform)
    made = np.asarray(transform(features), np.float64)
    exact = [made[labels == c].mean(0) if (labels == c).any() else np.zeros(8) for c in range(6)]
    assert parts.dtype == whole.dtype == np.float32
    for means in (whole, parts):
        np.testing.assert_allclose(means, exact, rtol=2e-7, atol=5e-8)
    with pytest.raises(ValueError, match="expected"):
        classifiers.class_means_of_rows(features, labels[:-1], 6)


def test_labels_outside_belong_to_no_class():
    means = classifiers.class_means(np.array([[1.0], [5.0], [7.0]]), np.array([0, -1, 2]), 2)
    assert means.tolist() == [[1.0], [0.0]]


def test_tau_normalised_kernels_agree_with_the_reference(reference):
    for case, v in reference("tau_norm").items():
        kernel = classifiers.tau_normalize(v["weight"].T, float(v["tau"]))
        np.testing.assert_allclose(kernel, v["weight_normed"].T, rtol=1e-5, atol=1e-5, err_msg=case)
        logits = classifiers.lws_logits(v["features"], kernel, None, 1.0)
        np.testing.assert_allclose(logits, v["logits"], rtol=1e-5, atol=1e-5, err_msg=case)


def test_learnable_weight_scaling_agrees_with_the_reference(reference):
    for case, v in reference("lws").items():

        def loss(scale, v=v):
            logits = classifiers.lws_logits(v["features"], v["weight"].T, v["bias"], scale)
            return losses.cross_entropy(logits, v["labels"]).mean(), logits

        (value, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(jnp.asarray(v["scales"]))
        np.testing.assert_allclose(logits, v["logits"], rtol=1e-5, atol=1e-5, err_msg=case)
        np.testing.assert_allclose(value, v["ce_loss"], rtol=2e-5, err_msg=case)
        np.testing.assert_allclose(gradient, v["grad_scales"], rtol=1e-4, atol=2e-6, err_msg=case)


@pytest.mark.parametrize("case", ["linear_sigma1.0", "linear_sigma17.5"])
def test_cosine_logits_and_their_gradients_agree_with_the_reference(case, reference):
    v = reference("cosine_classifiers")[case]

    def loss(features, weight, sigma):
        logits = classifiers.cosine_logits(features, weight.T, sigma)
        return losses.cross_entropy(logits, v["labels"]).mean(), logits

    arguments = jnp.asarray(v["features"]), jnp.asarray(v["weight"]), jnp.float32(v["sigma"])
    (value, logits), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(*arguments)
    np.testing.assert_allclose(logits, v["logits"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(value, v["ce_loss"], rtol=2e-5)
    for gradient, name in zip(gradients, ("features", "weight", "sigma"), strict=True):
        np.testing.assert_allclose(gradient, v[f"grad_{name}"].reshape(gradient.shape), rtol=1e-4, atol=2e-6)


def test_other_cosine_forms_agree_with_the_reference(reference):
    cases = reference("cosine_classifiers")
    v = cases["ldam_normed"]
    logits = classifiers.cosine_logits(v["features"], v["weight"], 1.0)
    np.testing.assert_allclose(logits, v["logits"], rtol=1e-5, atol=1e-5)
    v = cases["oltr"]
    logits = classifiers.cosine_logits(v["features"], v["weight"].T, float(v["scale"]), squash=True)
    np.testing.assert_allclose(logits, v["logits"], rtol=1e-5, atol=1e-5)
    v = cases["split"]
    kernel = np.concatenate([v["weight_old"], v["weight_new"]]).T
    logits = classifiers.cosine_logits(v["features"], kernel, float(v["sigma"]))
    np.testing.assert_allclose(logits, v["logits"], rtol=1e-5, atol=1e-5)


def test_causal_norm_agrees_with_the_reference(reference):
    for case, v in reference("causal_norm").items():
        options = {"num_heads": int(v["num_head"]), "scale": float(v["tau"]), "gamma": float(v["gamma"])}
        kernel = v["weight"].T
        logits = classifiers.causal_norm_logits(v["features"], kernel, **options)
        np.testing.assert_allclose(logits, v["train_logits"], rtol=1e-5, atol=1e-5, err_msg=case)
        logits = classifiers.causal_norm_logits(
            v["features"], kernel, **options, mean_feature=v["embed"], alpha=float(v["alpha"])
        )
        np.testing.assert_allclose(logits, v["tde_logits"], rtol=1e-5, atol=1e-5, err_msg=case)


def test_adjusted_logits_agree_with_the_reference(reference):
    for case, v in reference("logit_adjusted").items():
        logits = classifiers.adjust_logits(v["logits"], class_counts=v["class_counts"], tau=float(v["tau"]))
        np.testing.assert_allclose(logits, v["posthoc_logits"], rtol=1e-6, atol=2e-6, err_msg=case)
    counts = jnp.array([9, 1])
    traced = jax.jit(lambda c: classifiers.adjust_logits(np.zeros(2), class_counts=c, tau=1.0))(counts)
    np.testing.assert_allclose(traced, -np.log([0.9, 0.1]), rtol=1e-6)


@pytest.mark.parametrize("similarity, prefix", [("cosine", "cos"), ("negative_l2", "negl2")])
def test_exemplars_agree_with_the_reference_one_class_at_a_time_and_all_at_once(similarity, prefix, reference):
    cases = reference("exemplar_selection")
    for case, v in cases.items():
        per_class = int(v["num"])
        picks = v[f"{prefix}_indices"]
        expected = np.concatenate([picks, np.full(per_class - len(picks), -1)])
        features, labels = v["features"], np.zeros(len(v["features"]), int)
        got = classifiers.select_exemplars(features, labels, per_class, similarity=similarity)
        np.testing.assert_array_equal(got[0], expected, err_msg=case)
    # The classes of equal width together, their examples interleaved.
    parts = [v["features"] for v in cases.values() if v["features"].shape[1] == 8]
    features = np.concatenate(parts)
    labels = np.concatenate([np.full(len(p), i) for i, p in enumerate(parts)])
    shuffled = np.random.default_rng(0).permutation(len(features))
    together = classifiers.select_exemplars(features[shuffled], labels[shuffled], 10, similarity=similarity)
    for i, part in enumerate(parts):
        alone = classifiers.select_exemplars(part, np.zeros(len(part), int), 10, similarity=similarity)[0]
        back = [int(shuffled[j]) - int((labels < i).sum()) if j >= 0 else -1 for j in together[i].tolist()]
        assert back == alone.tolist()


def test_exemplars_do_not_depend_on_the_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(103, 6)).astype(np.float32), rng.integers(-1, 5, 103)
    whole = classifiers.select_exemplars(features, labels, 7, num_classes=6)
    monkeypatch.setattr("ltjax.classifiers.exemplars.CHUNK_ELEMENTS", 6 * 10)
    select = exemplars._select_exemplars.__wrapped__  # what is compiled has the old chunks
    monkeypatch.setattr("ltjax.classifiers.exemplars._select_exemplars", lambda *arguments: select(*arguments))
    np.testing.assert_array_equal(classifiers.select_exemplars(features, labels, 7, num_classes=6), whole)
    assert whole[5].tolist() == [-1] * 7
    assert all(len(set(row)) == len(row) for row in whole[:5].tolist())
    assert (labels[whole[:5]] == np.arange(5)[:, None]).all()


def test_exemplars_of_equal_examples_are_the_first_ones():
    picks = classifiers.select_exemplars(np.ones((5, 3)), np.zeros(5, int), 6)
    assert picks.tolist() == [[0, 1, 2, 3, 4, -1]]


def test_exemplars_under_jit_need_the_number_of_classes():
    features, labels = jnp.ones((4, 2)), jnp.array([0, 1, 1, 0])
    picks = jax.jit(lambda f, y: classifiers.select_exemplars(f, y, 2, num_classes=2))(features, labels)
    assert picks.tolist() == [[0, 3], [1, 2]]
    with pytest.raises(ValueError, match="num_classes"):
        jax.jit(lambda f, y: classifiers.select_exemplars(f, y, 2))(features, labels)


CALLS = {
    "class_means": lambda x, w: classifiers.class_means(x, np.array([0, 1, 1]), 2),
    "ncm_transform": lambda x, w: classifiers.ncm_transform(x, "l2"),
    "ncm_logits": lambda x, w: classifiers.ncm_logits(x, w.T),
    "ncm_logits euclidean": lambda x, w: classifiers.ncm_logits(x, w.T, metric="euclidean"),
    "tau_normalize": lambda x, w: classifiers.tau_normalize(w, 0.7),
    "lws_logits": lambda x, w: classifiers.lws_logits(x, w, None, 1.0),
    "cosine_logits": lambda x, w: classifiers.cosine_logits(x, w, 16.0),
    "cosine_logits squash": lambda x, w: classifiers.cosine_logits(x, w, 16.0, squash=True),
    "causal_norm_logits": lambda x, w: classifiers.causal_norm_logits(x, w, mean_feature=x[0] + x[1], alpha=1.0),
    "adjust_logits": lambda x, w: classifiers.adjust_logits(x, class_counts=[1, 2, 3, 4], tau=1.0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_classifiers_keep_jit_widen_halves_and_have_finite_gradients_at_zero(call):
    features = jax.random.normal(jax.random.key(0), (3, 4)).at[2].set(0)
    kernel = jax.random.normal(jax.random.key(1), (4, 2)).at[:, 1].set(0)
    plain = call(features, kernel)
    np.testing.assert_allclose(jax.jit(call)(features, kernel), plain, rtol=1e-5, atol=1e-6)
    for dtype in (jnp.bfloat16, jnp.float16):
        assert jax.eval_shape(call, features.astype(dtype), kernel.astype(dtype)).dtype == jnp.float32
    with jax.enable_x64(True):
        wide = jax.jit(call)(np.asarray(features, np.float64), np.asarray(kernel, np.float64))
        assert wide.dtype == jnp.float64
        np.testing.assert_allclose(wide, plain, rtol=1e-4, atol=1e-5)
    gradients = jax.jit(jax.grad(lambda x, w: call(x, w).sum(), argnums=(0, 1)))(features, kernel)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: classifiers.class_means(np.ones((3, 2)), np.zeros(2, int), 2), "expected"),
        (lambda: classifiers.ncm_transform(np.ones((3, 2)), "cl2n"), "kind"),
        (lambda: classifiers.ncm_logits(np.ones((3, 2)), np.ones((2, 2)), metric="l2"), "metric"),
        (lambda: classifiers.causal_norm_logits(np.ones((3, 4)), np.ones((4, 2)), num_heads=3), "num_heads"),
        (lambda: classifiers.adjust_logits(np.ones(3), class_counts=[1, 0, 2], tau=1), "class 1"),
        (lambda: classifiers.adjust_logits(np.ones(3), class_counts=[1, 2], tau=1), "2 classes"),
        (lambda: classifiers.select_exemplars(np.ones((3, 2)), np.zeros(3, int), 0), "per_class"),
        (lambda: classifiers.select_exemplars(np.ones((3, 2)), np.zeros(3, int), 1, similarity="cos"), "similarity"),
        (lambda: classifiers.select_exemplars(np.ones((3, 2)), np.zeros(3), 1), "integers"),
    ],
)
def test_bad_input_raises_naming_it(call, message):
    with pytest.raises(ValueError, match=message):
        call()
