"""The losses on projected views a second time: loops in plain float64 numpy, written from the equations."""

import math

import numpy as np


def unit(v):
    return v / np.linalg.norm(v)


def log_bessel(order, x):
    """log I_order(x) by its power series."""
    terms = [(2 * m + order) * math.log(x / 2) - math.lgamma(m + 1) - math.lgamma(m + order + 1) for m in range(400)]
    return max(terms) + math.log(sum(math.exp(term - max(terms)) for term in terms))


def log_normalizer(kappa, dimension):
    """Of a von Mises-Fisher distribution, without the power of 2 pi."""
    order = dimension / 2 - 1
    return order * math.log(kappa) - log_bessel(order, kappa)


def proco_loss(x, y, means, counts, temperature):
    losses = []
    for row, label in zip(x, y, strict=True):
        scores = []
        for m, count in zip(means, counts, strict=True):
            length, dimension = np.linalg.norm(m), len(m)
            kappa = dimension * length / (1 - length**2)
            together = np.linalg.norm(kappa * m / length + unit(row) / temperature)
            score = log_normalizer(kappa, dimension) - log_normalizer(together, dimension)
            scores.append(score + math.log(count / sum(counts)))
        top = max(scores)
        log_total = top + math.log(sum(math.exp(score - top) for score in scores))
        losses.append(log_total - scores[label])
    return losses


def balanced_contrastive_loss(x, y, prototypes, temperature):
    x, prototypes = [unit(v) for v in x], [unit(v) for v in prototypes]
    losses = []
    for i, (anchor, label) in enumerate(zip(x, y, strict=True)):
        of_class = {c: [prototype] for c, prototype in enumerate(prototypes)}
        for k, other in enumerate(x):
            if k != i:
                of_class[int(y[k])].append(other)
        scores = {c: [math.exp(anchor @ v / temperature) for v in members] for c, members in of_class.items()}
        below = sum(sum(values) / len(values) for values in scores.values())
        own = scores[int(label)]
        losses.append(-sum(math.log(score / below) for score in own) / len(own))
    return np.mean(losses)


def paco_loss(logits, y, x, keys, key_labels, counts, alpha, beta, gamma, temperature):
    x, keys = [unit(v) for v in x], [unit(v) for v in keys]
    losses = []
    for i, (anchor, label) in enumerate(zip(x, y, strict=True)):
        centres = [v + math.log(n / sum(counts)) for v, n in zip(logits[i], counts, strict=True)]
        others = [(v, c) for k, (v, c) in enumerate(zip(x, y, strict=True)) if k != i]
        others += [(v, c) for v, c in zip(keys, key_labels, strict=True) if c >= 0]
        scores = [(anchor @ v / temperature, c) for v, c in others]
        below = math.log(sum(math.exp(v) for v in centres) + gamma * sum(math.exp(s) for s, _ in scores))
        own = [s for s, c in scores if c == label]
        total = beta * (centres[label] - below) + alpha * sum(s - below for s in own)
        losses.append(-total / (beta + alpha * len(own)))
    return losses


def cosine_consistency_loss(x, targets):
    return [-(unit(a) @ unit(b)) for a, b in zip(x, targets, strict=True)]
