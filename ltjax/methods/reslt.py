"""ResLT: residual learning for long-tailed recognition (Cui et al., IEEE TPAMI 2022).

Three branches share the network and one classifier. The first learns from all images, the second only from medium
and tail classes, the third only from tail classes; their logits are summed, so that the later ones are residuals
that lift the rarer classes (section 3.2). One objective trains the branches (eq. 2) and their sum (eq. 1):

    loss = (1 - alpha) * fusion + alpha * branches                                        (eq. 3)
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import branch_masks
from ltjax.data import Data
from ltjax.losses import reslt_terms
from ltjax.methods.common import (
    Rules,
    accuracy,
    build_network,
    checked,
    configured_sampler,
    dtypes,
    evaluate_network,
    fresh,
    rates,
)
from ltjax.methods.stage import Outcome, Stage, Term
from ltjax.models import ResLTHead

DIVISORS = ("pooled", "subset_means")
FORMS = ("bn", "conv")


def reslt(config: Any, data: Data) -> list[Stage]:
    """One stage; groups, alpha and the head's form are config.reslt."""
    settings = checked(config, "reslt", lambda settings: rules(settings, data.num_classes))
    masks = groups(settings, data.class_counts)
    head = ResLTHead(data.num_classes, branches=len(masks), form=settings.head, **dtypes(config))
    network = build_network(config, data, head)

    def objective(apply, params, model_state, batch, context):
        del context
        images, labels = batch["image"]["image"], batch["image"]["label"]
        outputs, model_state = apply(params, model_state, images)
        per_image = reslt_terms(
            outputs.logits,
            labels,
            branch_masks=masks,
            probability_epsilon=settings.probability_epsilon,
            fusion_epsilon=settings.fusion_epsilon,
        )
        terms = {"fusion": Term(per_image.fusion, per_image.fusion_weights, 1 - settings.alpha)}
        terms |= branch_terms(per_image, settings.divisor, settings.alpha)
        return Outcome(terms, model_state, {"accuracy": accuracy(jnp.sum(outputs.logits, 0), labels)})

    return [
        Stage(
            "train",
            network=network,
            epochs=config.epochs,
            optimizer=config.optimizer,
            streams={"image": configured_sampler(config)},
            init=fresh(network, data),
            objective=objective,
            rates=rates(config),
            predict=lambda variables, images: jnp.sum(evaluate_network(network, variables, images).logits, 0),
        )
    ]


def branch_terms(per_image, divisor: str, alpha: float) -> dict[str, Term]:
    """Eq. 2: one pooled mean over all that counts (the authors' code), or the sum of each branch's own mean."""
    values, weights = per_image.branch, per_image.branch_weights
    if divisor == "pooled":
        return {"branch": Term(values, weights, alpha)}
    return {f"branch_{k}": Term(values[k], weights[k], alpha) for k in range(len(values))}


def groups(settings: Any, class_counts: np.ndarray) -> np.ndarray:
    """bool [branches, C]: the classes whose images each branch learns from."""
    boundaries = tuple(settings.boundaries) or None
    return branch_masks(class_counts, num_groups=settings.groups, boundaries=boundaries)


def rules(settings: Any, num_classes: int) -> Rules:
    boundaries = list(settings.boundaries)
    return {
        "alpha": (0 <= settings.alpha <= 1, "a number in [0, 1]"),
        "groups": (2 <= settings.groups <= min(5, num_classes), "2 to 5, and at most the number of classes"),
        "head": (settings.head in FORMS, f"one of {', '.join(FORMS)}"),
        "divisor": (settings.divisor in DIVISORS, f"one of {', '.join(DIVISORS)}"),
        "probability_epsilon": (0 <= settings.probability_epsilon < 1, "a number in [0, 1)"),
        "fusion_epsilon": (0 <= settings.fusion_epsilon < 1, "a number in [0, 1)"),
        "boundaries": (
            not boundaries
            or (
                len(boundaries) == settings.groups - 1
                and boundaries == sorted(set(boundaries))
                and boundaries[0] >= 1
                and boundaries[-1] < num_classes
            ),
            f"() or config.reslt.groups - 1 = {settings.groups - 1} rising positions in [1, {num_classes})",
        ),
    }
