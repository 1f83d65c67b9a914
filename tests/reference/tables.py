"""Oracles of counts, probabilities, accuracies, curves and optimizer steps; published constants where there are any."""

import decimal
import math
from typing import Any

import numpy as np

Case = dict[str, Any]

# Training images of CIFAR-10-LT and CIFAR-100-LT by imbalance factor, as the papers' tables have them.
PUBLISHED_TOTALS = {
    "cifar10": {10: 20431, 20: 17023, 50: 13996, 100: 12406, 200: 11203},
    "cifar100": {10: 19573, 20: 15907, 50: 12608, 100: 10847, 200: 9502},
}


def exponential_counts(largest: int, classes: int, imbalance: int) -> list[int]:
    """Images of class i: largest / imbalance^(i / (classes - 1)), cut off to a whole number, in whole numbers.

    n is at most that if n^(C-1) imbalance^i <= largest^(C-1).
    """
    power = classes - 1
    counts = []
    for i in range(classes):
        n = int(largest * imbalance ** (-i / power)) + 2
        while n**power * imbalance**i > largest**power:
            n -= 1
        counts.append(n)
    return counts


def effective_number_weights(counts: Any, beta: float) -> np.ndarray:
    """(1 - beta) / (1 - beta^n) to 60 digits, scaled to sum C."""
    with decimal.localcontext() as context:
        context.prec = 60
        exact = decimal.Decimal(beta)
        weights = [(1 - exact) / (1 - exact ** int(n)) for n in counts]
        return np.array([float(w / sum(weights) * len(weights)) for w in weights])


def cb_weights() -> Any:
    profiles = {
        "basic": exponential_counts(500, 10, 100),
        "two_classes": [900, 30],
        "many_classes": exponential_counts(1000, 300, 500),
        "count_one": [4000, 7, 1],
    }
    return {
        f"{name}_beta{beta}": {
            "class_counts": np.array(counts),
            "beta": np.array(beta),
            "weights": effective_number_weights(counts, beta) if beta else np.ones(len(counts)),
        }
        for name, counts in profiles.items()
        for beta in (0.0, 0.9, 0.99, 0.999, 0.9999)
    }


def sampling_probabilities() -> Any:
    made = {}
    profiles = {"cifar10lt": exponential_counts(5000, 10, 100), "random": [7, 120, 3, 45, 1, 300, 12, 80]}
    for name, counts in profiles.items():
        total, epochs = sum(counts), 90
        instance = np.array([n / total for n in counts])
        balanced = np.array([1 / len(counts) for _ in counts])
        roots = [math.sqrt(n) for n in counts]
        t = np.array([0, 1, 44, 88, 89])
        made[name] = {"class_counts": np.array(counts), "T": np.array(epochs), "t": t}
        made[name] |= {"IB": instance, "CB": balanced, "SR": np.array([root / sum(roots) for root in roots])}
        for field, length in (("PB_paper", epochs), ("PB_author", epochs - 1)):
            made[name][field] = np.array([(1 - e / length) * instance + e / length * balanced for e in t])
    return made


def shot_accuracy() -> Any:
    made = {}
    for name, counts in {
        "cifar100lt": exponential_counts(500, 100, 100),
        "boundaries": [101, 100, 99, 21, 20, 19],
        "no_few": [300, 150, 60, 40],
        "only_few": [10, 7, 1],
    }.items():
        rng = np.random.default_rng(len(counts))
        labels = np.concatenate([np.arange(len(counts)), rng.integers(0, len(counts), 10 * len(counts))])
        preds = np.where(rng.uniform(size=len(labels)) < 0.6, labels, rng.integers(0, len(counts), len(labels)))
        right = [[p == y for p, y in zip(preds, labels, strict=True) if y == c] for c in range(len(counts))]
        accuracy = [sum(r) / len(r) for r in right]
        case = {"preds": preds, "labels": labels, "train_counts": np.array(counts), "per_class": np.array(accuracy)}
        case |= {"overall": sum(map(sum, right)) / len(labels), "mean_class": sum(accuracy) / len(accuracy)}
        limits = {
            "strict": (lambda n: n > 100, lambda n: n < 20, 0.0),
            "inclusive": (lambda n: n >= 100, lambda n: n <= 20, math.nan),
        }
        for convention, (many, few, nothing) in limits.items():
            groups: list[list[float]] = [[], [], []]
            for n, a in zip(counts, accuracy, strict=True):
                groups[0 if many(n) else 2 if few(n) else 1].append(a)
            case[convention] = np.array([sum(g) / len(g) if g else nothing for g in groups])
        made[name] = case
    return made


def sgd() -> Any:
    """g <- g + wd p; v <- mu v + g; p <- p - lr v, or with Nesterov's momentum p - lr (g + mu v)."""
    made = {}
    for name in ("plain", "nesterov"):
        rng = np.random.default_rng(0)
        p0, grads = rng.normal(size=7).astype(np.float32), rng.normal(size=(6, 7)).astype(np.float32)
        rates, momentum, decay = [0.1, 0.1, 0.05, 0.05, 0.01, 0.0], 0.9, 5e-4
        p, v, path = p0.astype(np.float64), np.zeros(7), []
        for gradient, rate in zip(grads.astype(np.float64), rates, strict=True):
            gradient = gradient + decay * p
            v = momentum * v + gradient
            p = p - rate * (gradient + momentum * v if name == "nesterov" else v)
            path.append(p)
        made[name] = {"p0": p0, "grads": grads, "lrs": np.array(rates), "params": np.array(path)}
        made[name] |= {"momentum": np.array(momentum), "weight_decay": np.array(decay)}
    return made


def cifar_lt_counts() -> Any:
    made = {}
    for data_set, (largest, classes) in {"cifar10": (5000, 10), "cifar100": (500, 100)}.items():
        for imbalance, total in PUBLISHED_TOTALS[data_set].items():
            counts = exponential_counts(largest, classes, imbalance)
            made[f"{data_set}_exp_if{imbalance}"] = {"counts": counts, "total": total}
        for imbalance in (10, 100):
            counts = [largest] * (classes // 2) + [largest // imbalance] * (classes // 2)
            made[f"{data_set}_step_if{imbalance}"] = {"counts": counts, "total": sum(counts)}
    return made


def cifar_lt_selection() -> Any:
    """Each class's images, in order, shuffled by one seeded generator, class after class; the first n_i stay."""
    made = {}
    for seed, imbalance, classes, each in ((0, 10, 10, 40), (3, 100, 10, 100), (0, 50, 20, 50)):
        targets = np.random.default_rng(1).permutation(np.repeat(np.arange(classes), each)).tolist()
        counts = exponential_counts(each, classes, imbalance)
        generator, selected = np.random.RandomState(seed), []
        for label, count in enumerate(counts):
            images = np.array([i for i, target in enumerate(targets) if target == label])
            generator.shuffle(images)
            selected += images[:count].tolist()
        case = {"targets": targets, "counts": counts, "imb_factor": 1 / imbalance, "rand_number": seed}
        made[f"rand_number{seed}_if{imbalance}_C{classes}"] = {**case, "selected": selected}
    return made


def lr_schedules() -> Any:
    """The rate of every epoch, from the formulas of the papers and their code."""

    def steps(epoch: int, factor: float, first: int = 160, second: int = 180) -> float:
        return factor ** ((epoch >= first) + (epoch >= second))

    def cosine(epoch: int, warm_up: int, epochs: int, rate: float) -> float:
        if epoch < warm_up:
            return rate * (epoch + 1) / warm_up
        return rate / 2 * (1 + math.cos(math.pi * (epoch - warm_up + 1) / (epochs - warm_up + 1)))

    def thirds(epoch: int) -> float:
        """From a third of the rate to all of it in five epochs."""
        done = min((epoch + 1) / 5, 1)
        return (1 - done) / 3 + done

    return {
        "ldam_drw_cifar_200": [0.1 * min((e + 1) / 5, 1) * steps(e, 0.01) for e in range(200)],
        "reslt_cifar_200": [0.1 * thirds(e) * steps(e, 0.1) for e in range(200)],
        "reslt_inat_200": [0.05 * (1 + math.cos(math.pi * e / 200)) for e in range(200)],
        "reslt_imagenet_180_warmup5": [cosine(e, 5, 180, 0.1) for e in range(180)],
        "ride_cifar_200": [0.1 * min((e + 1) / 5, 1) * steps(e, 0.01) for e in range(200)],
        "decoupling_cosine_90": {"per_epoch_1_to_90": [0.1 * (1 + math.cos(math.pi * e / 90)) for e in range(1, 91)]},
        "bbn_cifar_200": [0.1 * thirds(e) * steps(e, 0.01, 119, 159) for e in range(200)],
    }


def loss_weight_lambda() -> Any:
    """sqrt(old / new classes), where classes of 20 images and more are old."""
    classes = {"places_lt": (294, 71), "imagenet_lt": (864, 136), "cifar100_lt_if100": (70, 30)}
    return {n: {"num_old": old, "num_new": new, "value": math.sqrt(old / new)} for n, (old, new) in classes.items()}


def places_lt_counts() -> Any:
    """Counts between 4980 and 5 with the published sizes of the groups, not the published counts."""
    many = np.geomspace(4980, 101, 131).astype(int).tolist()
    medium = np.linspace(99, 21, 156).astype(int).tolist()
    few = np.linspace(19, 5, 71).astype(int).tolist()
    counts = np.random.default_rng(0).permutation([*many, 100, *medium, *[20] * 6, *few]).tolist()
    # Branches end where n^3 <= 4980^2 * 5 and 4980 * 5^2.
    branches = [sum(n**3 > limit for n in counts) for limit in (4980**2 * 5, 4980 * 5**2)]
    sizes = {"strict": (131, 163, 71), "inclusive": (132, 156, 77)}
    named = {c: dict(zip(("many", "median", "few"), s, strict=True)) for c, s in sizes.items()}
    return {"counts": counts, "branches": branches, **named}


ORACLES = {
    "cb_weights": cb_weights,
    "sampling_probabilities": sampling_probabilities,
    "shot_accuracy": shot_accuracy,
    "sgd": sgd,
    "cifar_lt_counts": cifar_lt_counts,
    "cifar_lt_selection": cifar_lt_selection,
    "lr_schedules": lr_schedules,
    "loss_weight_lambda": loss_weight_lambda,
    "places_lt_counts": places_lt_counts,
}
