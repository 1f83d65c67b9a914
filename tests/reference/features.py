"""Oracles of what works on features: graph matching, exemplars, class means, rescaled and cosine classifiers."""

from typing import Any

import numpy as np

from tests.losses import oracle
from tests.reference.differences import gradient

Case = dict[str, Any]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def length(x: Any, axis: int = -1) -> Any:
    return np.sqrt((np.asarray(x, np.float64) ** 2).sum(axis, keepdims=True))


def mean_cross_entropy(logits: Any, labels: Any) -> float:
    return float(np.mean(oracle.cross_entropy(logits, labels)))


def graph_matching() -> Any:
    made = {}
    features = {
        "basic": (normal(0, 6, 5), normal(1, 6, 5)),
        "relu_features": (np.maximum(normal(2, 6, 5), 0) + 0.01, np.maximum(normal(3, 6, 5), 0) + 0.02),
        "normalised": tuple((x / length(x)).astype(np.float32) for x in (normal(4, 6, 5), normal(5, 6, 5))),
        "single_node": (normal(6, 1, 5), normal(7, 1, 5)),
        "large_scale": (30 * normal(8, 6, 5), 30 * normal(9, 6, 5)),
    }
    for name, (old, new) in features.items():
        case = {"z_old": old, "z_new": new}
        for prefix, similarity in (("cos", "cosine"), ("negl2", "negative_l2")):

            def nodes(z: Any, old=old, similarity=similarity) -> Any:
                return np.array(oracle.graph_matching_loss(old.astype(np.float64), z, similarity, False, 1.0))

            mu = nodes(new.astype(np.float64))
            attention = []
            for z in old.astype(np.float64):
                scores = [-np.linalg.norm(z - v) for v in new.astype(np.float64)]
                if similarity == "cosine":
                    scores = [z @ v / np.linalg.norm(z) / np.linalg.norm(v) for v in new.astype(np.float64)]
                attention.append(oracle.softmax(scores))
            case |= {f"{prefix}_mu": mu, f"{prefix}_attention": np.array(attention)}
            case |= {f"{prefix}_loss": mu.sum(), f"{prefix}_loss_mean": mu.mean()}
            case[f"{prefix}_grad_z_new"] = gradient(lambda z, nodes=nodes: nodes(z).sum(), new)
        made[name] = case
    return made


def exemplar_selection() -> Any:
    made = {}
    for name, (features, number) in {
        "basic": (normal(10, 40, 8), 10),
        "relu": (np.maximum(normal(11, 30, 8), 0), 10),
        "fewer_than_m": (normal(12, 4, 8), 10),
        "one_sample": (normal(13, 1, 8), 3),
        "wide": (normal(14, 50, 24), 18),
    }.items():
        labels = np.zeros(len(features), int)
        case: Case = {"features": features, "num": np.array(number)}
        for prefix, similarity in (("cos", "cosine"), ("negl2", "negative_l2")):
            (picks,) = oracle.select_exemplars(features.astype(np.float64), labels, number, similarity, 1)
            case[f"{prefix}_indices"] = np.array([pick for pick in picks if pick >= 0])
        made[name] = case
    return made


def ncm() -> Any:
    train, labels = normal(15, 90, 12), np.random.default_rng(16).integers(0, 9, 90)
    labels[:9] = np.arange(9)
    train += labels[:, None] / np.float32(4)  # the classes lie apart
    test = train[::8] + np.float32(0.1) * normal(17, 12, 12)
    mean = train.astype(np.float64).mean(0)
    made = {}
    for name in ("un", "l2n", "cl2n"):

        def transformed(x: Any, name=name) -> Any:
            x = np.asarray(x, np.float64) - (mean if name == "cl2n" else 0)
            return x if name == "un" else x / length(x)

        centres = np.array([transformed(train)[labels == c].mean(0) for c in range(9)])
        seen = transformed(test)
        scores = {
            "l2": np.array([[-np.sum((x - c) ** 2) for c in centres] for x in seen]),
            "cos": np.array([[x @ c / len(c) for c in centres] for x in seen]),
            "true_cos": np.array([[x @ c / np.linalg.norm(x) / np.linalg.norm(c) for c in centres] for x in seen]),
        }
        made[name] = {
            "train_features": train,
            "train_labels": labels,
            "test_features": test,
            "feature_mean": mean,
            "centroids": centres,
            **{f"{metric}_logits": values for metric, values in scores.items()},
            **{f"{metric}_pred": values.argmax(1) for metric, values in scores.items()},
        }
    return made


def tau_norm() -> Any:
    weight, features = normal(18, 20, 8), normal(19, 9, 8)
    made = {}
    for tau in (0.0, 0.3, 0.5, 0.7, 1.0, 2.0):
        rescaled = weight / length(weight) ** tau
        logits = features.astype(np.float64) @ rescaled.T
        made[f"tau{tau}"] = {"weight": weight, "features": features, "tau": np.array(tau), "logits": logits}
        made[f"tau{tau}"]["weight_normed"] = rescaled
    return made


def lws() -> Any:
    weight, bias, features = normal(20, 20, 8), normal(21, 20), normal(22, 9, 8)
    labels = np.random.default_rng(23).integers(0, 20, 9)
    product = features.astype(np.float64) @ weight.T + bias
    made = {}
    for name, scales in {"init": np.ones(20, np.float32), "random": 1 + normal(24, 20) / 2}.items():

        def loss(scales: Any) -> float:
            return mean_cross_entropy(product * scales, labels)

        made[name] = {"weight": weight, "bias": bias, "features": features, "labels": labels, "scales": scales}
        made[name] |= {"logits": product * scales, "ce_loss": loss(scales), "grad_scales": gradient(loss, scales)}
    return made


def cosine_classifiers() -> Any:
    features, weight = normal(25, 9, 8), normal(26, 20, 8)
    labels = np.random.default_rng(27).integers(0, 20, 9)

    def cosine(x: Any, w: Any) -> Any:
        return (x / length(x)) @ (w / length(w)).T

    def loss(x: Any, w: Any, sigma: Any) -> float:
        return mean_cross_entropy(sigma * cosine(x, w), labels)

    made = {}
    for sigma in (1.0, 17.5):
        case = {"features": features, "weight": weight, "sigma": np.array(sigma), "labels": labels}
        case |= {"logits": sigma * cosine(features, weight), "ce_loss": loss(features, weight, sigma)}
        case["grad_features"] = gradient(lambda x, s=sigma: loss(x, weight, s), features)
        case["grad_weight"] = gradient(lambda w, s=sigma: loss(features, w, s), weight)
        case["grad_sigma"] = gradient(lambda s: loss(features, weight, s[0]), [sigma])
        made[f"linear_sigma{sigma}"] = case
    made["ldam_normed"] = {"features": features, "weight": weight.T, "logits": cosine(features, weight)}
    squashed = features / (1 + length(features))
    made["oltr"] = {"features": features, "weight": weight, "scale": np.array(16.0)}
    made["oltr"]["logits"] = 16 * squashed @ (weight / length(weight)).T
    made["split"] = {"features": features, "weight_old": weight[:14], "weight_new": weight[14:]}
    made["split"] |= {"sigma": np.array(9.25), "logits": 9.25 * cosine(features, weight)}
    return made


def causal_norm() -> Any:
    made = {}
    for classes, d, heads, alpha in ((10, 64, 2, 1.0), (100, 128, 2, 1.5), (30, 64, 4, 3.0), (5, 8, 1, 3.0)):
        features, weight = normal(28, 6, d), normal(29, classes, d)
        means = np.abs(normal(30, 3, d)).astype(np.float64)  # of features after a ReLU
        embed = np.zeros(d)
        for mean in means:
            embed = 0.9 * embed + mean
        case = {"features": features, "weight": weight, "num_head": np.array(heads), "tau": np.array(16.0)}
        case |= {"gamma": np.array(1 / 32), "alpha": np.array(alpha), "batch_means": means, "embed": embed}
        for field, strength in (("train_logits", 0.0), ("tde_logits", alpha)):
            logits = np.zeros((6, classes))
            for i, k, h in np.ndindex(6, classes, heads):
                part = slice(h * d // heads, (h + 1) * d // heads)
                x, w, c = (v[part].astype(np.float64) for v in (features[i], weight[k], embed))
                unit, common = x / np.linalg.norm(x), c / np.linalg.norm(c)
                unit = unit - strength * (unit @ common) * common
                logits[i, k] += 16 / heads * unit @ w / (np.linalg.norm(w) + 1 / 32)
            case[field] = logits
        made[f"C{classes}_d{d}_H{heads}_alpha{alpha}"] = case
    return made


def reslt_head() -> Any:
    """The two forms of ResLT's head, one branch after the other; NCHW maps and PyTorch's layout of the weights."""
    d, classes, images = 6, 10, 4
    feature_map = np.maximum(normal(31, images, d, 3, 3), 0)
    fc = {"fc_weight": normal(32, classes, d), "fc_bias": normal(33, classes)}

    def norm(x: Any, mean: Any, var: Any, weight: Any, bias: Any) -> Any:
        def wide(v: Any) -> Any:
            return np.asarray(v, np.float64)[:, None, None]

        return (x - wide(mean)) / np.sqrt(wide(var) + 1e-5) * wide(weight) + wide(bias)

    def moments(x: Any) -> tuple[Any, Any, Any]:
        count = x.size // x.shape[1]
        biased = x.var((0, 2, 3))
        return x.mean((0, 2, 3)), biased, biased * count / max(count - 1, 1)

    def moved(old: Any, new: Any) -> Any:
        return 0.9 * old.astype(np.float64) + 0.1 * new

    def statistics(seed: int, size: int) -> Case:
        rng = np.random.default_rng(seed)
        drawn = (
            1 + rng.normal(size=size) / 4,
            rng.normal(size=size) / 4,
            rng.normal(size=size),
            rng.uniform(0.5, 2, size),
        )
        return {k: v.astype(np.float32) for k, v in zip(("weight", "bias", "mean", "var"), drawn, strict=True)}

    def scores(features: Any, gamma: float | None = None) -> Any:
        weight = fc["fc_weight"].astype(np.float64)
        if gamma is None:
            return features @ weight.T + fc["fc_bias"]
        return features @ (weight / length(weight) ** gamma).T

    x = feature_map.astype(np.float64)
    made: dict[str, Case] = {"bn_head": {"feature_map": feature_map, **fc}}
    for k, branch in enumerate("HMT"):
        s = statistics(34 + k, d)
        mean, biased, unbiased = moments(x)
        made["bn_head"] |= {f"BN{branch}_{name}": value for name, value in s.items()} | {
            f"eval_{branch}": scores(norm(x, s["mean"], s["var"], s["weight"], s["bias"]).mean((2, 3))),
            f"train_{branch}": scores(norm(x, mean, biased, s["weight"], s["bias"]).mean((2, 3))),
            f"new_BN{branch}_mean": moved(s["mean"], mean),
            f"new_BN{branch}_var": moved(s["var"], unbiased),
        }
    made["bn_head"]["eval_fused"] = sum(made["bn_head"][f"eval_{branch}"] for branch in "HMT")

    for order, gamma in ((order, gamma) for order in ("prepool", "postpool") for gamma in (0.0, 0.3, 0.7)):
        conv, s = normal(37, 3 * d, d, 1, 1) / 2, statistics(38, 3 * d)
        pooled = x.mean((2, 3), keepdims=True)

        def convolved(x: Any, conv=conv) -> Any:
            return np.einsum("od,bdhw->bohw", conv[:, :, 0, 0].astype(np.float64), x)

        seen = convolved(x if order == "prepool" else pooled)
        mean, biased, unbiased = moments(seen)
        trained = np.maximum(norm(seen, mean, biased, s["weight"], s["bias"]), 0).mean((2, 3))
        tested = norm(convolved(pooled), s["mean"], s["var"], s["weight"], s["bias"])
        tested = np.maximum(tested, 0)[:, :, 0, 0]
        case = {"feature_map": feature_map, "conv_weight": conv, "gamma": np.array(gamma), **fc}
        case |= {"conv_before_pool_in_training": np.array(order == "prepool")}
        case |= {f"bn_{name}": value for name, value in s.items()}
        case |= {"new_bn_mean": moved(s["mean"], mean), "new_bn_var": moved(s["var"], unbiased)}
        for k, branch in enumerate("HMT"):
            part = slice(k * d, (k + 1) * d)
            case |= {f"eval_{branch}": scores(tested[:, part], gamma), f"train_{branch}": scores(trained[:, part])}
        case["eval_fused"] = sum(case[f"eval_{branch}"] for branch in "HMT")
        made[f"conv_{order}_gamma{gamma}"] = case
    return made


ORACLES = {
    "graph_matching": graph_matching,
    "exemplar_selection": exemplar_selection,
    "ncm": ncm,
    "tau_norm": tau_norm,
    "lws": lws,
    "cosine_classifiers": cosine_classifiers,
    "causal_norm": causal_norm,
    "reslt_head": reslt_head,
}
