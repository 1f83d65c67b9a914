"""The losses of several labels a second time: loops over images and classes in float64, from the papers' equations."""

import math


def sigmoid(v):
    return 1 / (1 + math.exp(-v))


def binary(p, t):
    return -math.log(p) if t else -math.log(1 - p)


def binary_cross_entropy(x, targets, gamma, class_weights):
    out = []
    for row, present in zip(x, targets, strict=True):
        total = sum(
            ((1 - sigmoid(v)) ** gamma if t else sigmoid(v) ** gamma) * binary(sigmoid(v), t)
            for v, t in zip(row, present, strict=True)
        )
        own = [w for w, t in zip(class_weights, present, strict=True) if t] or list(class_weights)
        out.append(total * sum(own) / len(own))
    return out


def distribution_balanced_loss(x, targets, counts, num_images, mapped, negative_scale, bias_scale, gamma):
    alpha, beta, mu = mapped
    out = []
    for row, present in zip(x, targets, strict=True):
        # equation 4: how often the image is drawn if classes are drawn alike, without the 1 / C of both
        drawn = sum(1 / n for n, t in zip(counts, present, strict=True) if t)
        total = 0.0
        for v, t, n in zip(row, present, counts, strict=True):
            weight = alpha + (sigmoid(beta * (1 / n / drawn - mu)) if drawn else 1.0)
            lacking = max(num_images - n, 0.5)  # a class of every image would have infinite odds
            bias = math.log(n / lacking)  # the logit of the best constant classifier
            z = v + bias_scale * bias
            scaled = z if t else negative_scale * z
            p = sigmoid(scaled)
            focal = (1 - p) ** gamma if t else p**gamma
            total += weight * focal * binary(p, t) / (1 if t else negative_scale)
        out.append(total)
    return out


def asymmetric_loss(x, targets, gamma_positive, gamma_negative, clip):
    out = []
    for row, present in zip(x, targets, strict=True):
        total = 0.0
        for v, t in zip(row, present, strict=True):
            p = sigmoid(v)
            q = max(p - clip, 0)
            total -= (1 - p) ** gamma_positive * math.log(p) if t else q**gamma_negative * math.log(1 - q)
        out.append(total)
    return out
