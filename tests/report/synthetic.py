"""Workdirs as a run leaves them, with made-up but plausible numbers."""

import json

import numpy as np

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def counts_of(classes, largest, imbalance):
    """The exponential profile of the CIFAR-LT sets."""
    return [int(largest * imbalance ** (-i / max(classes - 1, 1))) for i in range(classes)]


def mean_of(values):
    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def results_of(counts, *, names=None, per_class=None, **changes):
    counts = np.asarray(counts)
    if per_class is None:
        noise = np.random.default_rng(0).normal(0, 0.06, len(counts))
        level = np.log(counts + 1.0) / np.log(counts.max() + 1.0)
        per_class = np.clip(0.95 * level**1.5 + noise, 0, 1).round(3).tolist()
    values = np.array([np.nan if a is None else a for a in per_class], float)
    members = {
        "strict": [counts > 100, (counts >= 20) & (counts <= 100), counts < 20],
        "inclusive": [counts >= 100, (counts > 20) & (counts < 100), counts <= 20],
    }
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    first, second = 3 * len(counts) // 10, 6 * len(counts) // 10
    members["index"] = [rank < first, (rank >= first) & (rank < second), rank >= second]
    shots = {}
    for convention, groups in members.items():
        means = [mean_of(values[m]) for m in groups]
        shots[convention] = dict(zip(("many", "medium", "few"), means, strict=True))
        shots[convention]["classes"] = [int(m.sum()) for m in groups]
    accuracy = {"all": mean_of(values), "mean_class": mean_of(values), "worst_class": None}
    accuracy |= {"harmonic_mean": None} | {g: shots["strict"][g] for g in ("many", "medium", "few")}
    results = {
        "method": "reslt", "dataset": "cifar10", "split": "test", "epochs": 200, "step": 22_400, "epoch_rule": "last",
        "parameter_count": 464_538, "train_size": int(counts.sum()), "class_counts": counts.tolist(),
        "train_index_sha256": "0123456789abcdef" * 4, "seeds": [0], "wall_time_s": 7384.2,
        "hardware": "2 x NVIDIA H200", "versions": {"jax": "0.10.2", "flax": "0.12.8"},
        "resumes": [{"stage": "train", "step": 1200}], "train_loss_last_epoch": 0.0423, "accuracy": accuracy,
        "convention": "strict", "shots": shots, "per_class": per_class,
    }  # fmt: skip
    return results | ({"class_names": list(names)} if names else {}) | changes


def results_of_seeds(counts, seeds, **changes):
    """Means, sample deviations and every seed's numbers, as a run of several seeds writes them."""
    first = results_of(counts, **changes)
    runs, random = [], np.random.default_rng(3)
    for _ in range(seeds):
        noisy = [None if a is None else float(np.clip(a + random.normal(0, 0.03), 0, 1)) for a in first["per_class"]]
        loss = 0.0423 + random.normal(0, 0.004)
        runs.append(results_of(counts, per_class=noisy, train_loss_last_epoch=loss, **changes))
    keys = ("accuracy", "shots", "per_class", "train_loss_last_epoch")
    mean = {key: over_seeds([run[key] for run in runs], np.mean) for key in keys}
    for convention, shots in mean["shots"].items():
        shots["classes"] = first["shots"][convention]["classes"]
    deviation = {key: over_seeds([run[key] for run in runs], lambda values: np.std(values, ddof=1)) for key in keys}
    numbers = [5 + i for i in range(seeds)]
    each = [{"seed": n} | {key: run[key] for key in keys} for n, run in zip(numbers, runs, strict=True)]
    return first | mean | {"seeds": numbers, "std": deviation, "per_seed": each}


def over_seeds(values, reduce):
    """The same form with every number replaced by what `reduce` makes of the seeds' numbers; None stays None."""
    if isinstance(values[0], dict):
        return {key: over_seeds([v[key] for v in values], reduce) for key in values[0] if key != "classes"}
    if isinstance(values[0], list):
        return [over_seeds(list(column), reduce) for column in zip(*values, strict=True)]
    return None if values[0] is None else float(reduce(values))


def metrics_of_seeds(seeds, epochs, rows_per_epoch, **options):
    """Each row holds the means, and the seeds' own numbers under ``per_seed``."""
    runs = [metrics_of(epochs, rows_per_epoch, seed=seed, **options) for seed in range(seeds)]
    rows = []
    for same in zip(*runs, strict=True):
        names = [name for name in same[0] if name not in ("step", "epoch", "stage", "learning_rate")]
        level = np.linspace(0.97, 1.03, seeds)  # the seeds differ from step to step, and as a whole
        each = {name: [float(row[name] * f) for row, f in zip(same, level, strict=True)] for name in names}
        rows.append(same[0] | {name: float(np.mean(v)) for name, v in each.items()} | {"per_seed": each})
    return rows


def metrics_of(epochs, rows_per_epoch, *, stages=("train",), tests=True, seed=0):
    random, rows, step = np.random.default_rng(seed), [], 0
    for stage in stages:
        for row in range(epochs * rows_per_epoch):
            progress, step = row / (epochs * rows_per_epoch), step + 10
            fusion = 2.3 * np.exp(-4 * progress) * np.exp(random.normal(0, 0.12)) + 0.02
            branch = 0.8 * fusion + 0.3 * (1 - progress)
            line = {"step": step, "epoch": (row + 1) / rows_per_epoch, "stage": stage, "loss": fusion + branch}
            line |= {"loss/fusion": fusion, "loss/branches": branch}
            line |= {"learning_rate": 0.05 * (1 + np.cos(np.pi * progress))}
            line |= {"accuracy": min(1.0, 0.15 + 0.85 * progress**0.4 + random.normal(0, 0.02))}
            if tests and (row + 1) % (rows_per_epoch * max(1, epochs // 20)) == 0:
                line |= {"test/all": 0.1 + 0.6 * progress**0.5, "test/many": 0.1 + 0.8 * progress**0.4}
                line |= {"test/medium": 0.1 + 0.5 * progress**0.7, "test/few": 0.5 * progress}
            rows.append(line)
    return rows


def confusion_of(results, images=100, seed=1):
    """Errors go mostly to frequent classes, as they do under a long tail."""
    random, counts = np.random.default_rng(seed), np.asarray(results["class_counts"], float)
    matrix = np.zeros([len(counts)] * 2, np.int64)
    for c, accuracy in enumerate(results["per_class"]):
        if accuracy is None:
            continue
        right = round(images * accuracy)
        weights = (counts + 1) ** 0.7 * random.exponential(size=len(counts))
        weights[c] = 0
        wrong = images - right if weights.sum() else 0
        matrix[c] = random.multinomial(wrong, weights / max(weights.sum(), 1e-9))
        matrix[c, c] = right
    return matrix


def predictions_of(results, images=5, seed=4):
    """label, prediction, probability and label_probability of test images, as evaluation.npz has them."""
    random, counts = np.random.default_rng(seed), np.asarray(results["class_counts"], float)
    label = np.repeat(np.arange(len(counts)), images)
    made = []
    for one in results.get("per_seed", [results]):
        accuracy = np.array([a or 0 for a in one["per_class"]])[label]
        others = random.choice(len(counts), len(label), p=np.sqrt(counts + 1) / np.sqrt(counts + 1).sum())
        prediction = np.where(random.random(len(label)) < accuracy, label, others).astype(np.int32)
        probability = random.beta(5, 2, len(label)).astype(np.float32)
        made.append((label, prediction, probability, np.where(prediction == label, probability, 0.1)))
    arrays = [np.stack(parts) if len(made) > 1 else parts[0] for parts in zip(*made, strict=True)]
    return dict(zip(("label", "prediction", "probability", "label_probability"), arrays, strict=True))


def write_gallery(folder, said, *, side=32, channels=3, names="class/{}.jpg", most=12):
    """Pictures of the first images."""
    label, prediction, probability, own = (np.atleast_2d(said[name])[0] for name in said)
    records = np.arange(min(most, len(label)))
    ramp = np.linspace(0, 255, side * side * channels).reshape(side, side, channels)
    wrong = np.flatnonzero(label[records] != prediction[records])
    np.savez(
        folder / "gallery.npz", pictures=np.stack([np.roll(ramp, 7 * i) for i in records]).astype(np.uint8),
        record=records, index=records, label=label[records], prediction=prediction[records],
        path=np.array([names.format(i) for i in records]), probability=probability[records],
        label_probability=own[records], wrong=wrong, rarest=records[::-1],
    )  # fmt: skip


def write_run(folder, results, *, metrics=None, confusion=None, weight_norms=None, config=None, predictions=None):
    (folder / "results.json").write_text(json.dumps(results))
    if metrics is not None:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    arrays = {"confusion": confusion, "weight_norms": weight_norms} | (predictions or {})
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if arrays:
        np.savez(folder / "evaluation.npz", **arrays)
    return folder


def norms_of(results, seed=2):
    level = np.log1p(np.asarray(results["class_counts"], float))
    return 1.0 + 0.12 * level + np.random.default_rng(seed).normal(0, 0.05, len(level))
