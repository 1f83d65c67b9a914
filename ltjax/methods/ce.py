"""Softmax cross-entropy: the baseline of every table; with config.loss label smoothing or logit adjustment."""

from ltjax.data import Data
from ltjax.methods.common import build_network, classifier, classify, one_stage, softmax_loss, softmax_prior
from ltjax.methods.stage import Stage
from ltjax.settings import Block, Settings


def cross_entropy_method(config: Settings, settings: Block, data: Data) -> list[Stage]:
    """One stage, one classifier (config.model.head); the sampler is config.data.sampler."""
    del settings
    network = build_network(config, data, classifier(config, data))
    objective = classify("image", softmax_loss(config, data), config=config)
    return one_stage(config, data, network, objective, prior=softmax_prior(config, data))
