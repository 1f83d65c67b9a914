"""Every loss a second time: loops over examples, classes and pairs, plain float64 numpy, written from the equations."""

import itertools
import math

import numpy as np


def softmax(x):
    e = [math.exp(v - max(x)) for v in x]
    return [v / sum(e) for v in e]


def soft(y, num_classes):
    return [float(k == y) for k in range(num_classes)] if np.ndim(y) == 0 else list(y)


def cross_entropy_one(x, t):
    top = max(x)
    log_total = top + math.log(sum(math.exp(v - top) for v in x))
    return sum(tk * (log_total - v) for v, tk in zip(x, t, strict=True))


def cross_entropy(x, y, label_smoothing=0.0):
    c = x.shape[1]
    return [
        cross_entropy_one(row, [(1 - label_smoothing) * t + label_smoothing / c for t in soft(label, c)])
        for row, label in zip(x, y, strict=True)
    ]


def focal_loss(x, y, gamma, class_weights):
    out = []
    for row, label in zip(x, y, strict=True):
        t = soft(label, len(row))
        value = cross_entropy_one(row, [tk * wk for tk, wk in zip(t, class_weights, strict=True)])
        out.append((1 - math.exp(-value)) ** gamma * value)
    return out


def sigmoid_focal_loss(x, y, gamma, class_weights):
    out = []
    for row, label in zip(x, y, strict=True):
        t, total = soft(label, len(row)), 0.0
        for v, tk in zip(row, t, strict=True):
            p = 1 / (1 + math.exp(-v))
            total += (tk * (1 - p) ** gamma + (1 - tk) * p**gamma) * (-tk * math.log(p) - (1 - tk) * math.log(1 - p))
        out.append(total * sum(tk * wk for tk, wk in zip(t, class_weights, strict=True)))
    return out


def margins(counts, largest):
    raw = [n**-0.25 for n in counts]
    return [largest * v / max(raw) for v in raw]


def ldam_loss(x, y, counts, max_margin, scale):
    out = []
    for row, label in zip(x, y, strict=True):
        t = soft(label, len(row))
        z = [scale * (v - tk * m) for v, tk, m in zip(row, t, margins(counts, max_margin), strict=True)]
        out.append(cross_entropy_one(z, t))
    return out


def logit_adjusted_loss(x, y, counts, tau):
    prior = [n / sum(counts) for n in counts]
    return [
        cross_entropy_one([v + tau * math.log(p) for v, p in zip(row, prior, strict=True)], soft(label, len(row)))
        for row, label in zip(x, y, strict=True)
    ]


def vector_scaling_loss(x, y, counts, gamma, tau, max_margin):
    out = []
    for row, label in zip(x, y, strict=True):
        t = soft(label, len(row))
        z = [
            v * (n / max(counts)) ** gamma + tau * math.log(n / sum(counts)) - tk * m
            for v, n, tk, m in zip(row, counts, t, margins(counts, max_margin), strict=True)
        ]
        out.append(cross_entropy_one(z, t))
    return out


def lade_regularizer(x, y, counts, penalty, by_label):
    batch, c = x.shape
    prior = [n / sum(counts) for n in counts]
    total = 0.0
    for k in range(c):
        own = [x[i, k] for i in range(batch) if y[i] == k]
        mean = np.mean([math.exp(x[i, k]) / c / prior[y[i] if by_label else k] for i in range(batch)])
        total += prior[k] * (math.log(mean) + penalty * math.log(mean) ** 2 - (np.mean(own) if own else 0.0))
    return total


def influence_balanced_loss(x, y, features, alpha, epsilon, gamma, class_weights):
    out = []
    for row, label, h in zip(x, y, features, strict=True):
        t, p = soft(label, len(row)), softmax(row)
        loss = cross_entropy_one(row, [tk * w for tk, w in zip(t, class_weights, strict=True)])
        size = sum(abs(pk - tk) for pk, tk in zip(p, t, strict=True)) * sum(abs(v) for v in h)
        out.append(alpha * (1 - math.exp(-loss)) ** gamma * loss / (size + epsilon))
    return out


def gaussian_clouded_loss(x, y, noise, counts, scale, cloud, margin, gamma):
    most, least = math.log(max(counts)), math.log(min(counts))
    out = []
    for row, label, drawn in zip(x, y, noise, strict=True):
        t = soft(label, len(row))
        z = [
            scale * (v - cloud * (most - math.log(n)) / (most - least) * abs(e) - margin * tk)
            for v, n, e, tk in zip(row, counts, drawn, t, strict=True)
        ]
        loss = cross_entropy_one(z, t)
        out.append((1 - math.exp(-loss)) ** gamma * loss)
    return out


def softmax_binary_loss(x, y):
    out = []
    for row, label in zip(x, y, strict=True):
        pairs = list(zip(softmax(row), soft(label, len(row)), strict=True))
        out.append(-np.mean([t * math.log(p) + (1 - t) * math.log(1 - p) for p, t in pairs]))
    return out


def label_aware_smoothing_loss(x, y, counts, head, tail, form):
    low, high, c = min(counts), max(counts), x.shape[1]
    strengths = []
    for n in counts:
        if form == "concave":
            strengths.append(tail + (head - tail) * math.sin(math.pi * (n - low) / (2 * (high - low))))
        elif form == "linear":
            strengths.append(tail + (head - tail) * (n - low) / (high - low))
        else:
            angle = 1.5 * math.pi + math.pi * (n - low) / (2 * (high - low))
            strengths.append(head + (head - tail) * math.sin(angle))
    out = []
    for row, label in zip(x, y, strict=True):
        t = soft(label, c)
        spread = sum(tk * e for tk, e in zip(t, strengths, strict=True)) / c
        out.append(cross_entropy_one(row, [(1 - e) * tk + spread for tk, e in zip(t, strengths, strict=True)]))
    return out


def softmax_equalization_loss(x, y, counts, threshold, ignored):
    out = []
    for row, label in zip(x, y, strict=True):
        t = soft(label, len(row))
        left_out = [b and n / sum(counts) < threshold for n, b in zip(counts, ignored, strict=True)]
        w = [tk if out else 1 for tk, out in zip(t, left_out, strict=True)]
        total = sum(wk * math.exp(v) for wk, v in zip(w, row, strict=True))
        out.append(-sum(tk * (v - math.log(total)) for tk, v in zip(t, row, strict=True) if tk))
    return out


def distillation_loss(x, teacher, temperature):
    out = []
    for row, target in zip(x, teacher, strict=True):
        p, q = (softmax([v / temperature for v in logits]) for logits in (row, target))
        out.append(sum(b * math.log(b / a) for a, b in zip(p, q, strict=True)))
    return out


def reslt_loss(branches, y, masks, alpha, divisor, probability_epsilon, fusion_epsilon):
    def j(x, label, epsilon):
        return -math.log(softmax(x)[label] + epsilon)

    fusion = np.mean([j(branches[:, i].sum(0), label, fusion_epsilon) for i, label in enumerate(y)])
    members = [
        [j(branches[k, i], label, probability_epsilon) for i, label in enumerate(y) if masks[k][label]]
        for k in range(len(branches))
    ]
    if divisor == "pooled":
        branch = sum(map(sum, members)) / sum(map(len, members))
    else:
        branch = sum(sum(m) / len(m) for m in members if m)
    return (1 - alpha) * fusion + alpha * branch


def ride_loss(experts, y, counts, diversity, use_ldam, scale, factor, reweight):
    number, batch, c = experts.shape
    reweight = reweight and use_ldam
    w, t = [1.0] * c, [1.0] * c
    if reweight:
        w = [(1 - 0.9999) / (1 - 0.9999**n) for n in counts]
        w = [v / sum(w) * c for v in w]
        q = [1 - factor + factor * c * n / sum(counts) for n in counts]
        t = [v / max(q) for v in q]
    m = margins(counts, 0.5) if use_ldam else [0.0] * c
    mean = experts.mean(0)
    total = 0.0
    for e in range(number):
        judged = mean if diversity == 0 else experts[e]
        above = below = divergence = 0.0
        for i in range(batch):
            z = [v - (scale * m[k] if k == y[i] else 0) for k, v in enumerate(judged[i])]
            above += w[y[i]] * cross_entropy_one(z, soft(y[i], c))
            below += w[y[i]]
            p = softmax([v / tk for v, tk in zip(mean[i], t, strict=True)])
            q = softmax([v / tk for v, tk in zip(experts[e, i], t, strict=True)])
            divergence += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        total += above / below + diversity * (sum(t) / c) ** 2 * divergence / batch
    return total


def inverse_softmax_loss(x, y, counts, tau):
    """softmax(x + log share - tau log mirrored share); the k-th rarest class mirrors the k-th largest share."""
    rarest_first = sorted(range(len(counts)), key=lambda k: (counts[k], k))
    mirrored = dict(zip(rarest_first, [counts[k] for k in reversed(rarest_first)], strict=True))
    total = float(sum(counts))
    add = [math.log(n / total) - tau * math.log(mirrored[k] / total) for k, n in enumerate(counts)]
    return [
        cross_entropy_one([v + a for v, a in zip(row, add, strict=True)], soft(label, len(row)))
        for row, label in zip(x, y, strict=True)
    ]


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def mutual_distillation_loss(experts):
    out = []
    for i in range(experts.shape[1]):
        each = [softmax(list(rows[i])) for rows in experts]
        out.append(sum(divergence(p, q) for a, p in enumerate(each) for b, q in enumerate(each) if a != b))
    return out


def nontarget_distillation_loss(experts, y):
    out = []
    for i, label in enumerate(y):
        others = [[v for k, v in enumerate(rows[i]) if k != label] for rows in experts]  # without the true class
        means = [sum(column) / len(column) for column in zip(*others, strict=True)]
        teacher = [max(column) for column in zip(*others, strict=True)]
        hardest = means.index(max(means))
        teacher[hardest] = means[hardest]
        out.append(sum(divergence(softmax(teacher), softmax(one)) for one in others))
    return out


def graph_matching_loss(old, new, similarity, normalize, temperature):
    if normalize:
        old = [v / np.linalg.norm(v) for v in old]
        new = [v / np.linalg.norm(v) for v in new]
    mu = []
    for z in old:
        distances = [np.linalg.norm(z - v) for v in new]
        if similarity == "cosine":
            scores = [z @ v / np.linalg.norm(z) / np.linalg.norm(v) for v in new]
        else:
            scores = [-d for d in distances]
        mu.append(np.dot(softmax([s / temperature for s in scores]), distances))
    return mu


def margin_ranking_loss(cosines, y, margin, top_k, negatives):
    out = []
    for row, label in zip(cosines, y, strict=True):
        others = sorted((v for k, v in enumerate(row) if k != label and negatives[k]), reverse=True)
        out.append(sum(max(0, margin - row[label] + v) for v in others[:top_k]))
    return out


def distance(a, b):
    return float(np.linalg.norm(a - b))


def lifted_structure_loss(x, y, margin):
    pairs = [(i, j) for i, j in itertools.combinations(range(len(y)), 2) if y[i] == y[j]]
    total = 0.0
    for i, j in pairs:
        negative = sum(math.exp(margin - distance(x[a], x[k])) for a in (i, j) for k in range(len(y)) if y[k] != y[a])
        if negative:
            total += max(0, math.log(negative) + distance(x[i], x[j])) ** 2
    return total / (2 * len(pairs)) if pairs else 0.0


def range_loss(x, y, k, margin, alpha, beta):
    intra, centres = 0.0, []
    for c in sorted(set(y)):
        members = [v for v, label in zip(x, y, strict=True) if label == c]
        centres.append(np.mean(members, axis=0))
        ranges = sorted((distance(a, b) ** 2 for a, b in itertools.combinations(members, 2)), reverse=True)[:k]
        intra += len(ranges) / sum(1 / r for r in ranges) if ranges else 0.0
    gaps = [distance(a, b) ** 2 for a, b in itertools.combinations(centres, 2)]
    return alpha * intra + beta * (max(0, margin - min(gaps)) if gaps else 0.0)


def triplet_loss(x, y, margin, form, normalize):
    if normalize:
        x = [v / np.linalg.norm(v) for v in x]
    values = []
    for a, p, n in itertools.permutations(range(len(y)), 3):
        if y[a] == y[p] != y[n]:
            near, far = distance(x[a], x[p]), distance(x[a], x[n])
            if form == "margin":
                values.append(max(0, near**2 - far**2 + margin))
            else:
                values.append((math.exp(near) / (math.exp(near) + math.exp(far))) ** 2)
    return np.mean(values) if values else 0.0


def proxy_loss(x, y, proxies, normalize):
    if normalize:
        x = [v / np.linalg.norm(v) for v in x]
        proxies = [v / np.linalg.norm(v) for v in proxies]
    values = []
    for v, label in zip(x, y, strict=True):
        d = [distance(v, p) ** 2 for p in proxies]
        values.append(d[label] + math.log(sum(math.exp(-dk) for k, dk in enumerate(d) if k != label)))
    return np.mean(values)


def select_exemplars(x, y, per_class, similarity, num_classes):
    def s(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b) if similarity == "cosine" else -distance(a, b)

    picks = []
    for c in range(num_classes):
        left = [i for i, label in enumerate(y) if label == c]
        centre, chosen = np.mean(x[left], axis=0) if left else None, []
        while left and len(chosen) < per_class:
            query = centre
            if chosen:
                p = softmax([s(centre, x[i]) for i in chosen])
                query = centre + (centre - sum(pi * x[i] for pi, i in zip(p, chosen, strict=True)))
            best = max(left, key=lambda i: s(query, x[i]))
            chosen.append(best)
            left.remove(best)
        picks.append(chosen + [-1] * (per_class - len(chosen)))
    return picks
