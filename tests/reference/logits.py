"""Oracles of the losses on logits: the loops of ``tests/losses/oracle.py`` on cases with their edges in them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.losses import oracle
from tests.reference.differences import gradient
from tests.reference.tables import effective_number_weights, exponential_counts

Case = dict[str, Any]


def batch(seed: int, examples: int, classes: int, counts: Any = None) -> Case:
    rng = np.random.default_rng(seed)
    return {
        "logits": (2 * rng.normal(size=(examples, classes))).astype(np.float32),
        "labels": rng.integers(0, classes, examples),
        "class_counts": np.array(exponential_counts(500, classes, 100) if counts is None else counts),
    }


def batches(*names: str) -> Iterator[tuple[str, Case]]:
    """The edges: two classes, many, a class of one image, one example, equal logits, logits of +-1e4."""
    huge, right_wrong = batch(4, 4, 5), batch(5, 4, 5)
    huge["logits"] = 1e4 * np.sign(huge["logits"])
    right_wrong["logits"] = np.float32(1e4) * np.eye(5, dtype=np.float32)[[0, 1, 2, 3]]
    right_wrong["labels"] = np.array([0, 1, 4, 0])
    equal = batch(7, 4, 5)
    equal["logits"] = np.zeros_like(equal["logits"])
    every = {
        "basic": batch(0, 4, 5),
        "two_classes": batch(1, 4, 2),
        "many_classes": batch(2, 2, 60),
        "count_one": batch(3, 4, 5, [100, 30, 10, 1, 1]),
        "huge": huge,
        "huge_right_wrong": right_wrong,
        "single_example": batch(6, 1, 5),
        "equal_logits": equal,
    }
    yield from ((name, every[name]) for name in names or every)


def scored(case: Case, loss: Any, **fields: Any) -> Case:
    """The case with the loss of (logits, case), its gradient, and further fields."""
    case = {**case, **{name: np.asarray(value) for name, value in fields.items()}}
    x = case["logits"].astype(np.float64)
    return {**case, "loss": loss(x, case), "grad_logits": gradient(lambda x: loss(x, case), x)}


def weighted(losses: Any, weights: Any, labels: Any) -> float:
    return sum(weights[y] * loss for y, loss in zip(labels, losses, strict=True)) / sum(weights[y] for y in labels)


def ce() -> Any:
    def loss(x: Any, case: Case) -> float:
        return weighted(
            oracle.cross_entropy(x, case["labels"]), case.get("class_weights", np.ones(999)), case["labels"]
        )

    plain = {name: scored(case, loss) for name, case in batches()}
    heavier = batches("basic", "two_classes", "count_one", "single_example")
    return plain | {
        f"{name}_weighted": scored(case, loss, class_weights=1 / np.sqrt(case["class_counts"]))
        for name, case in heavier
    }


def cb_ce() -> Any:
    def loss(x: Any, case: Case) -> float:
        return weighted(oracle.cross_entropy(x, case["labels"]), case["class_weights"], case["labels"])

    return {
        f"{name}_beta{beta}": scored(
            case, loss, beta=beta, class_weights=effective_number_weights(case["class_counts"], beta)
        )
        for beta in (0.9, 0.9999)
        for name, case in batches("basic", "two_classes", "many_classes", "count_one")
    }


def cost_sensitive_ce() -> Any:
    def loss(x: Any, case: Case) -> float:
        counts = case["class_counts"]
        weights = [(min(counts) / n) ** float(case["gamma"]) for n in counts]
        return weighted(oracle.cross_entropy(x, case["labels"]), weights, case["labels"])

    return {
        f"{name}_gamma{gamma}": scored(case, loss, gamma=gamma)
        for gamma in (0.5, 1.0)
        for name, case in batches("basic", "two_classes", "many_classes", "count_one")
    }


def focal_softmax() -> Any:
    def loss(x: Any, case: Case) -> float:
        weights = case.get("class_weights", np.ones(x.shape[1]))
        return float(np.mean(oracle.focal_loss(x, case["labels"], float(case["gamma"]), weights)))

    made = {}
    for gamma in (1.0, 2.0):
        made |= {f"{name}_gamma{gamma}": scored(case, loss, gamma=gamma) for name, case in batches()}
        for name, case in batches("basic", "count_one"):
            weights = effective_number_weights(case["class_counts"], 0.99)
            made[f"{name}_gamma{gamma}_weighted"] = scored(case, loss, gamma=gamma, class_weights=weights)
    return made


def focal_sigmoid() -> Any:
    def loss(x: Any, case: Case) -> float:
        weights = np.ones(x.shape[1])
        return float(np.mean(oracle.sigmoid_focal_loss(x, case["labels"], float(case["gamma"]), weights)))

    finite = ("basic", "two_classes", "many_classes", "count_one", "single_example", "equal_logits")
    return {
        f"{name}_gamma{gamma}": scored(case, loss, gamma=gamma)
        for gamma in (1.0, 2.0)
        for name, case in batches(*finite)
    }


def cb_focal_sigmoid() -> Any:
    def loss(x: Any, case: Case) -> float:
        return float(np.mean(oracle.sigmoid_focal_loss(x, case["labels"], float(case["gamma"]), case["class_weights"])))

    return {
        f"{name}_gamma{gamma}_beta{beta}": scored(
            case, loss, gamma=gamma, beta=beta, class_weights=effective_number_weights(case["class_counts"], beta)
        )
        for gamma, beta in ((0.5, 0.999), (1.0, 0.9999), (2.0, 0.9999))
        for name, case in batches("basic", "two_classes", "count_one")
    }


def ldam() -> Any:
    def loss(x: Any, case: Case) -> float:
        losses = oracle.ldam_loss(x, case["labels"], case["class_counts"], float(case["max_m"]), float(case["s"]))
        return weighted(losses, case.get("class_weights", np.ones(x.shape[1])), case["labels"])

    made = {}
    for name, case in batches():
        options = {"s": 30.0, "max_m": 0.5, "margins": oracle.margins(case["class_counts"], 0.5)}
        made[name] = scored(case, loss, **options)
        weights = effective_number_weights(case["class_counts"], 0.9999)
        made[f"{name}_drw"] = scored(case, loss, **options, class_weights=weights)
    return made


def balanced_softmax() -> Any:
    def loss(x: Any, case: Case) -> float:
        return float(np.mean(oracle.cross_entropy(x + np.log(case["class_counts"]), case["labels"])))

    return {name: scored(case, loss) for name, case in batches()}


def logit_adjusted() -> Any:
    def loss(x: Any, case: Case) -> float:
        return float(np.mean(oracle.logit_adjusted_loss(x, case["labels"], case["class_counts"], float(case["tau"]))))

    made = {}
    for tau in (0.5, 1.0, 2.0):
        for name, case in batches():
            log_prior = np.log(case["class_counts"] / case["class_counts"].sum())
            adjusted = case["logits"].astype(np.float64) - tau * log_prior
            made[f"{name}_tau{tau}"] = scored(case, loss, tau=tau, posthoc_logits=adjusted)
    return made


def mixup_ce() -> Any:
    def loss(x: Any, case: Case) -> float:
        first, second = (np.mean(oracle.cross_entropy(x, case[f"labels_{k}"])) for k in "ab")
        return float(case["lam"] * first + (1 - case["lam"]) * second)

    case = batch(8, 4, 5)
    case |= {"labels_a": case["labels"], "labels_b": np.array([3, 1, 0, 4])}
    return {f"lam{lam}": scored(case, loss, lam=lam) for lam in (0.0, 0.3, 1.0)}


def ride() -> Any:
    def loss(x: Any, case: Case) -> float:
        return oracle.ride_loss(
            x,
            case["labels"],
            case["class_counts"],
            float(case["diversity_factor"]),
            bool(case["use_ldam"]),
            float(case["s"]),
            float(case["reweight_factor"]),
            bool(case["after_reweight_epoch"]),
        )

    made = {}
    for factor, use_ldam, rate in ((-0.45, True, 0.05), (-0.2, True, 0.02), (-0.2, False, 0.05), (0.0, True, 0.05)):
        for after in (False, True):
            case = batch(9, 4, 5)
            case["logits"] = (3 * np.random.default_rng(10).normal(size=(3, 4, 5))).astype(np.float32)
            options = {"diversity_factor": factor, "use_ldam": use_ldam, "reweight_factor": rate}
            name = f"lam{factor}_{'ldam' if use_ldam else 'ce'}_r{rate}_{'after' if after else 'before'}"
            made[name] = scored(case, loss, after_reweight_epoch=after, s=30.0, **options)
    return made


def margin_ranking() -> Any:
    def in_loops(x: Any, y: Any, margin: float, top_k: int | None, negatives: Any, counted: Any) -> float:
        losses = oracle.margin_ranking_loss(x, y, margin, top_k, negatives)
        return sum(loss for loss, count in zip(losses, counted, strict=True) if count)

    made = {}
    for name, (num_old, margin, top_k) in {
        "basic": (4, 0.5, 2),
        "no_old_sample": (1, 0.5, 2),
        "only_old": (5, 0.5, 1),
        "k1_m0.2": (4, 0.2, 1),
    }.items():
        rng = np.random.default_rng(11)
        x, y = rng.uniform(-1, 1, (6, 6)).astype(np.float32), rng.integers(1, 5, 6)
        everyone, new, old = np.ones(6, bool), np.arange(6) >= num_old, y < num_old
        forms = {
            "all": (None, everyone, everyone, 6),
            "topk": (top_k, everyone, everyone, 6),
            "lucir": (top_k, new, old, max(old.sum(), 1) * top_k),
        }
        case = {"cos": x, "labels": y, "num_old": np.array(num_old), "margin": np.array(margin), "K": np.array(top_k)}
        for form, (k, negatives, counted, divisor) in forms.items():

            def loss(x: Any, k=k, negatives=negatives, counted=counted, divisor=divisor, y=y, margin=margin) -> float:
                return in_loops(x, y, margin, k, negatives, counted) / divisor

            case |= {f"{form}_loss": loss(x.astype(np.float64)), f"{form}_grad_cos": gradient(loss, x, 1e-7)}
        made[name] = case
    return made


def reslt_loss() -> Any:
    """Groups at positions of the sorted classes; batches without a tail, of the tail alone, of two branches."""
    forms = {"author": ("pooled", 1e-7), "pooled": ("pooled", 0.0), "paper": ("subset_means", 0.0)}
    rng = np.random.default_rng(12)
    middle, tail = np.arange(6) >= 2, np.arange(6) >= 4
    chosen = {
        "cifar_alpha0.995": (0.995, [0, 1, 2, 4], "HMT"),
        "cifar100_alpha0.99": (0.99, [5, 1, 2, 0], "HMT"),
        "cifar_alpha0.0": (0.0, [0, 3, 5, 1], "HMT"),
        "cifar_alpha1.0": (1.0, [0, 3, 5, 2], "HMT"),
        "no_tail": (0.9, [0, 1, 2, 3], "HMT"),
        "head_only": (0.9, [0, 1, 1, 0], "HMT"),
        "tail_only": (0.9, [4, 5, 5, 4], "HMT"),
        "imagenet_alpha0.99": (0.99, [0, 3, 5, 5], "HMT"),
        "two_branch_alpha0.9": (0.9, [0, 3, 5, 2], "HM"),
    }
    made = {}
    for name, (alpha, labels, branches) in chosen.items():
        y = np.array(labels)
        x = (2 * rng.normal(size=(len(branches), len(y), 6))).astype(np.float32)
        masks = np.stack([np.ones(6, bool), middle, tail])[: len(branches)]
        case = {"labels": y, "alpha": np.array(alpha), "mask_mt": middle, "mask_t": tail}
        case |= {f"logits_{b}": x[k] for k, b in enumerate(branches)}
        for form, (divisor, epsilon) in forms.items():
            of_fusion = epsilon if name.startswith("imagenet") else 0.0

            def value(x: Any, weight: float, y=y, masks=masks, divisor=divisor, e=epsilon, f=of_fusion) -> float:
                return oracle.reslt_loss(x, y, masks, weight, divisor, e, f)

            slopes = gradient(lambda x, value=value, alpha=alpha: value(x, alpha), x)
            case |= {f"{form}_grad_{b}": slopes[k] for k, b in enumerate(branches)}
            exact = x.astype(np.float64)
            case |= {f"{form}_{term}": value(exact, w) for term, w in (("total", alpha), ("fusion", 0), ("branch", 1))}
        made[name] = case
    return made


def cbs_rrs_ss() -> Any:
    made = {}
    for name, weights in {"imagenet_weights": (0.5, 1, 1), "no_ss": (0.5, 1, 0), "equal": (1, 1, 1)}.items():
        rng = np.random.default_rng(13)
        case: Case = {"lambdas": np.array(weights, np.float64), "loss": 0.0}
        for term, weight, examples, classes in zip(("cbs", "rrs", "ss"), weights, (4, 4, 8), (6, 6, 4), strict=True):
            x = rng.normal(size=(examples, classes)).astype(np.float32)
            y = rng.integers(0, classes, examples)

            def mean(x: Any, y=y) -> float:
                return float(np.mean(oracle.cross_entropy(x, y)))

            case |= {f"logits_{term}": x, f"labels_{term}": y, f"loss_{term}": mean(x.astype(np.float64))}
            case |= {f"grad_{term}": weight * gradient(mean, x)}
            case["loss"] += weight * case[f"loss_{term}"]
        made[name] = case
    images = np.random.default_rng(14).normal(size=(4, 5, 5, 3)).astype(np.float32)
    turned = np.empty_like(images)
    for k in range(4):  # by hand: a quarter turn counter-clockwise takes (row, column) to (last - column, row)
        for row, column in np.ndindex(5, 5):
            place = row, column
            for _ in range(k):
                place = 4 - place[1], place[0]
            turned[k][place] = images[k, row, column]
    return made | {"rotation": {"images": images, "angle_class": np.arange(4), "rotated": turned}}


def bbn() -> Any:
    made = {}
    for epochs, epoch, divisor in (
        (200, 1, 200),
        (200, 50, 200),
        (200, 121, 200),
        (200, 200, 200),
        (180, 180, 200),  # of the authors' code: two lengths have another T
        (90, 90, 100),
    ):
        rng = np.random.default_rng(15)
        first, second = rng.normal(size=(2, 5, 16)).astype(np.float32)
        weight, bias = rng.normal(size=(10, 32)).astype(np.float32) / 4, rng.normal(size=10).astype(np.float32)
        y, z = rng.integers(0, 10, (2, 5))
        share = 1 - ((epoch - 1) / divisor) ** 2
        counts = np.array(exponential_counts(500, 10, 50))

        def loss(a: Any, b: Any, w=weight, bias=bias, y=y, z=z, share=share) -> float:
            logits = 2 * np.concatenate([share * a, (1 - share) * b], 1) @ w.T.astype(np.float64) + bias
            terms = oracle.cross_entropy(logits, y), oracle.cross_entropy(logits, z)
            return float(share * np.mean(terms[0]) + (1 - share) * np.mean(terms[1]))

        a, b = first.astype(np.float64), second.astype(np.float64)
        inverse = 1 / counts
        made[f"epochs{epochs}_e{epoch}"] = {
            "features_conv": first,
            "features_rebal": second,
            "weight": weight,
            "bias": bias,
            "labels_conv": y,
            "labels_rebal": z,
            "max_epoch": np.array(epochs),
            "epoch": np.array(epoch),
            "l": np.array(share),
            "loss": loss(a, b),
            "grad_conv": gradient(lambda x, b=b, loss=loss: loss(x, b), a),
            "grad_rebal": gradient(lambda x, a=a, loss=loss: loss(a, x), b),
            "test_logits": np.concatenate([a, b], 1) @ weight.T + bias,
            "class_counts": counts,
            "reversed_prob": inverse / inverse.sum(),
        }
    return made


ORACLES = {
    "ce": ce,
    "cb_ce": cb_ce,
    "cost_sensitive_ce": cost_sensitive_ce,
    "focal_softmax": focal_softmax,
    "focal_sigmoid": focal_sigmoid,
    "cb_focal_sigmoid": cb_focal_sigmoid,
    "ldam": ldam,
    "balanced_softmax": balanced_softmax,
    "logit_adjusted": logit_adjusted,
    "mixup_ce": mixup_ce,
    "ride": ride,
    "margin_ranking": margin_ranking,
    "reslt_loss": reslt_loss,
    "cbs_rrs_ss": cbs_rrs_ss,
    "bbn": bbn,
}
