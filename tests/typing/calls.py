"""Calls of the public functions. Nobody makes them: test_calls.py has a type checker read them.

Every line that ends with ``# wrong`` has a mistake that the checker has to find, and no other line may have one.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import class_counts, classifiers, losses, metrics, samplers


def calls() -> None:
    logits, labels, counts = jnp.zeros((4, 3)), jnp.zeros(4, int), [30, 9, 1]
    features, weights = np.zeros((4, 2), np.float32), class_counts.effective_number_weights(counts, 0.999)
    counters, groups = metrics.create(3), class_counts.shot_groups(counts)

    # right: numpy, jax and lists, keywords, options that are traced
    losses.cross_entropy(logits, labels)
    losses.cross_entropy([[0.0, 1.0]], [1], label_smoothing=jnp.asarray(0.1))
    losses.balanced_softmax_loss(np.zeros((4, 3)), np.zeros(4, np.int32), class_counts=np.array(counts))
    losses.ldam_loss(logits, labels, class_counts=counts, max_margin=0.5)
    losses.focal_loss(logits, labels, gamma=2.0, class_weights=weights, where=np.ones(4, bool))
    losses.triplet_loss(features, labels, form="ratio", axis_name="data")
    jax.jit(lambda x: losses.weighted_mean(x, weights[labels]))(logits)
    metrics.update(counters, logits, labels)
    metrics.shot_accuracies(counters, groups)
    classifiers.adjust_logits(logits, class_counts=counts, tau=1.0)
    classifiers.change_prior(logits, train_prior=class_counts.prior(counts), test_prior=[0.2, 0.3, 0.5])
    samplers.Records(samplers.class_balanced(), labels, seed=1)(range(4), epoch=2)

    # swapped
    metrics.update(logits, counters, labels)  # wrong
    metrics.shot_accuracies(groups, counters)  # wrong
    samplers.Records([0, 1], samplers.class_balanced())  # wrong
    samplers.Records(samplers.class_balanced(), labels)(epoch=range(4), positions=2)  # wrong
    class_counts.shot_groups("strict", counts)  # wrong
    class_counts.sampling_probabilities("class", counts)  # wrong
    class_counts.effective_number_weights(0.999, counts)  # wrong

    # not an array, or another option than there is
    losses.cross_entropy("logits", labels)  # wrong
    losses.cross_entropy(logits, None)  # wrong
    losses.cross_entropy(logits, {"label": 1})  # wrong
    losses.cross_entropy(logits, labels, 0.1)  # wrong
    losses.balanced_softmax_loss(logits, labels)  # wrong
    losses.balanced_softmax_loss(logits, labels, class_counts="cifar100")  # wrong
    losses.balanced_softmax_loss(logits, labels, class_counts=30)  # wrong
    losses.ldam_loss(logits, labels, class_counts=counts, max_margin="0.5")  # wrong
    losses.triplet_loss(features, labels, form="ratios")  # wrong
    losses.triplet_loss(features, labels, axis_name=0)  # wrong
    losses.focal_loss(logits, labels, gamma=2.0, class_weights=0.999)  # wrong
    classifiers.adjust_logits(logits, counts, 1.0)  # wrong
    classifiers.change_prior(logits, train_prior="train", test_prior=[0.2, 0.3, 0.5])  # wrong
    samplers.Records(samplers.class_balanced, labels)  # wrong
    samplers.Records(samplers.class_balanced(), "labels.txt")  # wrong
