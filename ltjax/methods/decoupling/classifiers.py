"""Second stages on a frozen representation (Kang et al., ICLR 2020, section 4)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from ltjax.arrays import at_least_float32
from ltjax.classifiers import class_means_of_rows, ncm_transform
from ltjax.data import Data, Source
from ltjax.data.sampling.class_cycle import class_cycle
from ltjax.errors import InputError
from ltjax.losses import cross_entropy
from ltjax.methods.common import build_network, carry_over, classify, dtypes, predicts, rates, uniform_prior
from ltjax.methods.decoupling.lbfgs import balanced_optimum
from ltjax.methods.decoupling.settings import DecouplingSettings
from ltjax.methods.decoupling.tau_search import best_tau, class_averaged_accuracies
from ltjax.methods.stage import AnyStage, ClosedForm, Features, Init, Previous, Stage, Start, Tree, Updates, under
from ltjax.models import CosineHead, HasTrainableParts, LinearHead, LWSHead, MeanHead, MLPHead, TauHead, representation
from ltjax.models.heads.feature_layer import without_feature_layer
from ltjax.settings import Settings


def retrained(config: Settings, settings: DecouplingSettings, data: Data) -> AnyStage:
    """cRT: a new linear classifier; or more than it, as table 1 compares (config.decoupling.retrain)."""
    head = LinearHead(data.num_classes, **dtypes(config))
    network = build_network(config, data, head)
    return balanced_training(
        "crt", config, settings, data, network, ("head/classifier",), part(settings.retrain, network)
    )


def learned_scales(config: Settings, settings: DecouplingSettings, data: Data) -> AnyStage:
    """LWS, eq. 4: a factor on each class's logit, 1 at first, is all that is trained."""
    network = build_network(config, data, LWSHead(data.num_classes, **dtypes(config)))
    return balanced_training("lws", config, settings, data, network, (), ("head/scale",))


def mlp(config: Settings, settings: DecouplingSettings, data: Data) -> AnyStage:
    """Appendix B.6: a classifier of two or three layers."""
    hidden = (settings.mlp_hidden,) * (settings.mlp_layers - 1)
    network = build_network(config, data, MLPHead(data.num_classes, hidden, **dtypes(config)))
    layers = (*(f"head/fc{number}" for number in range(1, settings.mlp_layers)), "head/classifier")
    return balanced_training("mlp", config, settings, data, network, layers, layers)


def cosine(config: Settings, settings: DecouplingSettings, data: Data) -> AnyStage:
    """Appendix B.7: a cosine classifier; without the last ReLU it sees features of either sign.

    The representation is the first stage's in both cases: only the last ReLU is left out, and nothing is trained again.
    """
    signed = {} if settings.cosine_relu else {"final_relu": False}
    head = CosineHead(data.num_classes, scale=settings.cosine_scale, **dtypes(config))
    network = build_network(config, data, head, **signed)
    new = ("head/classifier", "head/scale")
    return balanced_training("cosine", config, settings, data, network, new, new)


def tau_normalized(config: Settings, settings: DecouplingSettings, data: Data) -> AnyStage:
    """Eq. 3: every class's weights divided by their norm to the power tau: chosen on a grid, given, or trained."""
    network = build_network(config, data, TauHead(data.num_classes, **dtypes(config)))
    reported = {"report": lambda variables: {"tau": float(variables["params"]["head"]["tau"])}}
    if settings.tau_from == "learned":
        return balanced_training("tau", config, settings, data, network, (), ("head/tau",), **reported)
    start, source = carry_over(network, data), tau_source(settings.tau_from, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        if source is None:
            return Start(with_head(begun.variables, tau=settings.tau))
        kernel = begun.variables["params"]["head"]["classifier"]["kernel"]
        seen = features(previous.variables, np.arange(len(source)), source)
        return Start(with_head(begun.variables, tau=best_tau(class_averaged_accuracies(seen, source.labels, kernel))))

    return closed_form("tau", network, init, **reported)


def nearest_class_mean(config: Settings, settings: DecouplingSettings, data: Data) -> ClosedForm:
    """NCM: the class of the nearest mean feature over all training images, which pass once, without augmentation."""
    kind, metric = settings.ncm_features, settings.ncm_metric
    network = build_network(config, data, MeanHead(data.num_classes, kind, metric, **dtypes(config)))
    start = carry_over(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        seen = features(previous.variables, np.arange(len(data.train)))
        center = np.asarray(np.mean(seen, 0, dtype=np.float64), seen.dtype)
        means = class_means_of_rows(
            seen, data.train.labels, data.num_classes, lambda rows: ncm_transform(rows, kind, center)
        )
        return Start(with_head(begun.variables, means=means, center=center))

    return closed_form("ncm", network, init)


# config.decoupling.second_stage -> what makes it
SECOND_STAGES: Mapping[str, Callable[[Settings, DecouplingSettings, Data], AnyStage]] = {
    "crt": retrained,
    "lws": learned_scales,
    "tau": tau_normalized,
    "ncm": nearest_class_mean,
    "mlp": mlp,
    "cosine": cosine,
}


def balanced_training(
    name: str,
    config: Settings,
    settings: DecouplingSettings,
    data: Data,
    network: Any,
    reinitialise: tuple[str, ...],
    trainable: tuple[str, ...],
    **fields: Any,
) -> AnyStage:
    """Cross-entropy on as many images of every class, from the stage before, under the schedule of the second stage.

    With config.decoupling.cached on their features: the classifier alone is computed, and nothing is augmented. With
    config.decoupling.solver=lbfgs it is the minimum of that training's loss, found directly.
    """
    if settings.solver == "lbfgs":
        return solved(name, config, data, network, reinitialise, trainable)
    epochs, optimizer = config.second_stage()
    frozen_backbone = all(prefix.startswith("head") for prefix in trainable) and trainable != ()
    norm = settings.norm if settings.norm != "auto" else "frozen" if frozen_backbone else "batch"
    return Stage(
        name,
        network=network,
        epochs=epochs,
        optimizer=optimizer,
        streams={"image": class_cycle(settings.images_per_class)},
        init=carry_over(network, data, reinitialise),
        objective=classify("image", cross_entropy, config=config),
        predict=predicts(network),
        updates=Updates(trainable, rates(optimizer), norm=norm),
        representation=representation(network) if settings.cached else None,
        prior=uniform_prior(data),
        **fields,
    )


def solved(
    name: str, config: Settings, data: Data, network: Any, reinitialise: tuple[str, ...], trainable: tuple[str, ...]
) -> ClosedForm:
    """The classifier of least balanced cross-entropy on all features, with the second stage's weight decay.

    Raises:
      InputError: without weight decay, for then there need not be one.
    """
    weight_decay = config.second_stage()[1].weight_decay
    if not weight_decay > 0:
        raise InputError(
            f"config.second_stage_optimizer.weight_decay: impossible value {weight_decay!r} with solver=lbfgs, for "
            "without it there need not be a minimum; allowed: a number > 0"
        )
    start = carry_over(network, data, reinitialise)
    exact = at_least_float32(network.dtype)  # a search for a minimum needs values that do not jump
    precise = network.clone(dtype=exact, head=without_feature_layer(network.head).clone(dtype=exact))

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        params = traverse_util.flatten_dict(begun.variables["params"], sep="/")
        moving = {path: array for path, array in params.items() if any(under(path, prefix) for prefix in trainable)}

        def with_moving(arrays: Tree) -> Tree:
            return {**begun.variables, "params": traverse_util.unflatten_dict(params | arrays, sep="/")}

        found = balanced_optimum(
            lambda arrays, rows: precise.apply(with_moving(arrays), rows, train=False).logits,
            moving,
            features(previous.variables, np.arange(len(data.train))),
            data.train.labels,
            weight_decay=weight_decay,
        )
        return Start(with_moving(found.params))

    return closed_form(name, network, init, prior=uniform_prior(data))


def closed_form(name: str, network: Any, init: Init, **fields: Any) -> ClosedForm:
    """A second stage that ``init`` computes from the features of the first stage's network without its head."""
    return ClosedForm(name, network, init, predicts(network), representation(network), **fields)


def with_head(variables: Tree, **arrays: Any) -> Tree:
    """The variables with these parameters of the head replaced."""
    params = variables["params"]
    stored = {name: jnp.asarray(array, params["head"][name].dtype) for name, array in arrays.items()}
    return {**variables, "params": {**params, "head": {**params["head"], **stored}}}


def tau_source(tau_from: str, data: Data) -> Source | None:
    """The images that tau is chosen on; None where it is given.

    Raises:
      InputError: if they are to be validation images and there are none.
    """
    if tau_from == "value":
        return None
    if tau_from == "validation" and data.validation is None:
        raise InputError(
            f"config.decoupling.tau_from: {data.name} has no validation images here; set "
            "config.data.validation_use=choose and config.data.validation_fraction=0.2, or take tau_from=train"
        )
    return data.train if tau_from == "train" or data.validation is None else data.validation


def part(name: str, network: Any) -> tuple[str, ...]:
    """The path prefixes of a part of the network, for Updates.trainable: the classifier alone, with the last residual
    block, with the last stage of residual blocks (layer4 of PyTorch's ResNets), or everything, which is ().

    Raises:
      InputError: if the backbone does not name its last block and stage.
    """
    if name in ("classifier", "all"):
        return ("head/classifier",) if name == "classifier" else ()
    backbone = network.backbone
    if not isinstance(backbone, HasTrainableParts):
        raise InputError(
            f"config.decoupling: '{name}' needs a backbone that names its last block and stage (trainable_parts, see "
            f"ltjax/models/backbone.py), which {type(backbone).__name__} does not; use classifier or all"
        )
    return ("head", *(f"backbone/{path}" for path in backbone.trainable_parts()[name]))
