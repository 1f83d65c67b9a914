"""Second stages on a representation that stands still (Kang et al., ICLR 2020, section 4)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.classifiers import class_means, ncm_transform
from ltjax.data import Data
from ltjax.losses import cross_entropy
from ltjax.methods.common import build_network, carry_over, classify, dtypes, predicts
from ltjax.methods.stage import Features, Previous, Stage, Start, Tree
from ltjax.methods.tau import best_tau, class_averaged_accuracies
from ltjax.models import MeanHead, TauHead


def closed_form(name: str, config: Any, network: Any, init: Callable[..., Start], **fields: Any) -> Stage:
    """A stage that trains nothing: its init is all there is."""
    return Stage(
        name,
        network=network,
        epochs=0,
        optimizer=config.optimizer,
        streams={},
        init=init,
        objective=classify("image", cross_entropy),  # never called
        predict=predicts(network),
        **fields,
    )


def with_head(variables: Tree, **arrays: Any) -> Tree:
    """The variables with these parameters of the head replaced."""
    params = variables["params"]
    stored = {name: jnp.asarray(array, params["head"][name].dtype) for name, array in arrays.items()}
    return {**variables, "params": {**params, "head": {**params["head"], **stored}}}


def tau_normalized(config: Any, data: Data) -> Stage:
    """Eq. 3: every class's weights divided by their norm to the power tau; nothing is trained, but tau is chosen."""
    settings = config.decoupling
    network = build_network(config, data, TauHead(data.num_classes, **dtypes(config)))
    start = carry_over(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        if settings.tau_from == "value":
            return Start(with_head(begun.variables, tau=settings.tau))
        source = data.train
        kernel = begun.variables["params"]["head"]["classifier"]["kernel"]
        seen = features(previous.variables, np.arange(len(source)), source)
        tau = best_tau(class_averaged_accuracies(seen, source.labels, kernel))
        return Start(with_head(begun.variables, tau=tau))

    return closed_form("tau", config, network, init, report=lambda variables: {"tau": chosen_tau(variables)})


def chosen_tau(variables: Tree) -> float:
    return float(variables["params"]["head"]["tau"])


def nearest_class_mean(config: Any, data: Data) -> Stage:
    """The class of the nearest mean feature over all training images, which pass once, without augmentation."""
    kind, metric = config.decoupling.ncm_features, config.decoupling.ncm_metric
    network = build_network(config, data, MeanHead(data.num_classes, kind, metric, **dtypes(config)))
    start = carry_over(network, data)

    def init(key: jax.Array, previous: Previous | None, features: Features) -> Start:
        begun = start(key, previous, features)
        assert previous is not None
        seen = features(previous.variables, np.arange(len(data.train)))
        center = np.mean(seen, 0, dtype=np.float64).astype(seen.dtype)
        means = class_means(ncm_transform(seen, kind, center), data.train.labels, data.num_classes)
        return Start(with_head(begun.variables, means=means, center=center))

    return closed_form("ncm", config, network, init)


# config.decoupling.second_stage -> what makes it
SECOND_STAGES: Mapping[str, Callable[[Any, Data], Stage]] = {
    "tau": tau_normalized,
    "ncm": nearest_class_mean,
}
