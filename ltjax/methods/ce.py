"""Softmax cross-entropy: the baseline of every table."""

from ltjax.data import Data
from ltjax.losses import cross_entropy
from ltjax.methods.common import build_network, classify, dtypes, one_stage, sampled_prior
from ltjax.methods.stage import Stage
from ltjax.models import LinearHead
from ltjax.settings import Block, Settings


def cross_entropy_method(config: Settings, settings: Block, data: Data) -> list[Stage]:
    """One stage, one linear classifier; the sampler is config.data.sampler."""
    del settings
    network = build_network(config, data, LinearHead(data.num_classes, **dtypes(config)))
    objective = classify("image", cross_entropy, config=config)
    return one_stage(config, data, network, objective, prior=sampled_prior(config, data))
