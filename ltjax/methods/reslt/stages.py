"""ResLT: residual learning for long-tailed recognition (Cui et al., IEEE TPAMI 2022).

Three branches share the network and one classifier. The first learns from all images, the second only from medium
and tail classes, the third only from tail classes; their logits are summed, so that the later ones are residuals
that lift the rarer classes (section 3.2). One objective trains the branches (eq. 2) and their sum (eq. 1):

    loss = (1 - alpha) * fusion + alpha * branches                                        (eq. 3)

With experts (section 4.3, RIDE's backbones) every expert has its branches: the losses are summed over experts
and the fused logits averaged. ``variants.py`` has the paper's ablations.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.class_counts import branch_masks
from ltjax.data import Data
from ltjax.losses import cross_entropy, reslt_terms
from ltjax.methods.common import (
    Predict,
    accuracy,
    build_network,
    check_backbone,
    classify,
    dtypes,
    evaluate_network,
    one_stage,
    watched,
)
from ltjax.methods.mixing import blend, mix
from ltjax.methods.reslt.settings import ResLTSettings
from ltjax.methods.reslt.variants import CONVOLUTIONS, FUSIONS, VARIANTS, Variant
from ltjax.methods.stage import Outcome, Stage, Term, Tree
from ltjax.models import ConvTopHead, ExpertsHead, Network, ResLTHead
from ltjax.settings import Settings
from ltjax.settings.schema import refuse


def reslt(config: Settings, settings: ResLTSettings, data: Data) -> list[Stage]:
    """One stage; groups, alpha, the head's form, experts and variants are config.reslt."""
    check_classes(settings, data.num_classes)
    if settings.experts:
        check_backbone(config, "ride_")
    if settings.variant in CONVOLUTIONS:
        return convolutions_on_top(config, settings, data)
    variant = VARIANTS[settings.variant]
    masks = variant.classes(groups(settings, data.class_counts))
    network = make_network(config, settings, data, 1 if variant.one_branch else len(masks))

    def branches(logits: jax.Array) -> jax.Array:
        """[E, K, B, C] of what the head returns; one expert without experts, K times the same without branches."""
        logits = logits if settings.experts else logits[None]
        return jnp.repeat(logits, len(masks), axis=1) if variant.one_branch else logits

    def terms_of(logits: jax.Array, labels: jax.Array) -> dict[str, Term]:
        return branch_and_fusion_terms(logits, labels, masks, variant, settings)

    def objective(apply, params, model_state, batch, context):
        images, labels = batch["image"]["image"], batch["image"]["label"]
        if settings.mixup:
            mixed = mix(context.key, images, labels, settings.mixup)
            outputs, model_state = apply(params, model_state, mixed.images)
            logits = branches(outputs.logits)
            terms = blend(terms_of(logits, labels), terms_of(logits, mixed.labels_b), mixed.lam)
            return Outcome(terms, model_state, {"accuracy": accuracy(fused(logits, variant), mixed.larger)})
        outputs, model_state = apply(params, model_state, images)
        logits = branches(outputs.logits)
        scores = fused(logits, variant)
        seen = watched(config, cross_entropy(scores, labels), labels) if config.watch_classes else {}
        return Outcome(terms_of(logits, labels), model_state, {"accuracy": accuracy(scores, labels)} | seen)

    def reads(score: Callable[[jax.Array], jax.Array]) -> Predict:
        """A prediction of the network: a function of the branches' logits [E, K, B, C]."""

        def predict(variables: Tree, images: jax.Array) -> jax.Array:
            return score(branches(evaluate_network(network, variables, images).logits))

        return predict

    return one_stage(
        config,
        data,
        network,
        objective,
        predict=reads(lambda logits: fused(logits, variant)),
        views={name: reads(score) for name, score in readings(settings, variant, len(masks)).items()},
        whole_batch="each branch's mean is taken over the mixed batch (reslt.mixup)" if settings.mixup else "",
    )


def make_network(config: Settings, settings: ResLTSettings, data: Data, branches: int) -> Network:
    """The backbone with one head of so many branches, or RIDE's backbone with such a head for every expert."""
    head_settings: dict[str, Any] = {
        "branches": branches,
        "form": settings.head,
        "conv_before_pool_in_training": settings.conv_before_pool,
        "gamma": settings.gamma if settings.gamma >= 0 else None,
        "norm_group": config.model.norm_group,
    }
    if settings.experts:
        head = ExpertsHead(data.num_classes, settings.experts, head="reslt", **head_settings, **dtypes(config))
        return build_network(config, data, head, experts=settings.experts, reduce=settings.reduce)
    return build_network(config, data, ResLTHead(data.num_classes, **head_settings, **dtypes(config)))


def fused(logits: jax.Array, variant: Variant) -> jax.Array:
    """[E, K, B, C] -> [B, C]: the branches' sum (or what the variant has in its place), the experts' mean."""
    return jnp.mean(FUSIONS[variant.fusion](logits), 0)


def branch_and_fusion_terms(
    logits: jax.Array, labels: jax.Array, masks: np.ndarray, variant: Variant, settings: ResLTSettings
) -> dict[str, Term]:
    """Eqs. 1 to 3 of branch logits [E, K, B, C], summed over the experts."""
    epsilons: dict[str, Any] = {
        "probability_epsilon": settings.probability_epsilon,
        "fusion_epsilon": settings.fusion_epsilon,
    }

    def of_expert(logits: jax.Array) -> Any:
        terms = reslt_terms(logits, labels, branch_masks=masks, main_branch=masks[0].all(), **epsilons)
        if variant.fusion == "sum":
            return terms
        main = reslt_terms(logits[:1], labels, branch_masks=masks[:1], **epsilons)  # no shortcut: nothing is added
        return terms._replace(fusion=main.fusion)

    each = jax.vmap(of_expert)(logits)
    assert settings.alpha is not None  # resolved
    alpha = 1.0 if variant.branches_alone else settings.alpha
    experts = len(logits)  # a Term is a mean, the loss a sum over experts
    terms = {"fusion": Term(each.fusion, each.fusion_weights, (1 - alpha) * experts)}
    if settings.divisor == "pooled":  # one mean over all that counts: the authors' code
        return terms | {"branch": Term(each.branch, each.branch_weights, alpha * experts)}
    return terms | {  # the mean of each branch, summed: eq. 2 as printed
        f"branch_{k}": Term(each.branch[:, k], each.branch_weights[:, k], alpha * experts) for k in range(len(masks))
    }


def readings(settings: ResLTSettings, variant: Variant, branches: int) -> dict[str, Callable[[jax.Array], jax.Array]]:
    """name -> a score [B, C] of the branches' logits [E, K, B, C]: branches and experts alone, other fusions.

    ``first_2_experts`` of three experts is the paper's row of two (table 7).
    """

    def branch(k: int) -> Callable[[jax.Array], jax.Array]:
        return lambda logits: jnp.mean(logits[:, k], 0)

    def experts(first: int, end: int) -> Callable[[jax.Array], jax.Array]:
        return lambda logits: fused(logits[first:end], variant)

    def fusion(name: str) -> Callable[[jax.Array], jax.Array]:
        return lambda logits: jnp.mean(FUSIONS[name](logits), 0)

    return (
        {f"branch_{k}": branch(k) for k in range(1 if variant.one_branch else branches)}
        | {f"expert_{e}": experts(e, e + 1) for e in range(settings.experts)}
        | {f"first_{count}_experts": experts(0, count) for count in range(2, settings.experts)}
        | {f"fusion_{name}": fusion(name) for name in variant.other_fusions}
    )


def convolutions_on_top(config: Settings, settings: ResLTSettings, data: Data) -> list[Stage]:
    """Plain cross-entropy with ResLT's extra convolutions but none of its branches (section 4.2.1, figure 7)."""
    form = CONVOLUTIONS[settings.variant]
    sizes: dict[str, Any] = {"branches": settings.groups, "norm_group": config.model.norm_group}
    head = ConvTopHead(data.num_classes, form=form, **sizes, **dtypes(config))
    return one_stage(config, data, build_network(config, data, head), classify("image", cross_entropy, config=config))


def groups(settings: ResLTSettings, class_counts: np.ndarray) -> np.ndarray:
    """bool [branches, C]: the classes whose images each branch learns from."""
    boundaries = tuple(settings.boundaries) or None
    return branch_masks(class_counts, num_groups=settings.groups, boundaries=boundaries)


def check_classes(settings: ResLTSettings, num_classes: int) -> None:
    """Raises InputError where the groups do not fit the number of classes."""
    if settings.groups > num_classes:
        refuse("config.reslt.groups", settings.groups, "2 to 5, and at most the number of classes")
    if settings.boundaries and settings.boundaries[-1] >= num_classes:
        allowed = f"() or config.reslt.groups - 1 = {settings.groups - 1} rising positions in [1, {num_classes})"
        refuse("config.reslt.boundaries", settings.boundaries, allowed)
