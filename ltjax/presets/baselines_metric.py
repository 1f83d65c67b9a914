"""The metric-learning baselines: settings of ``lifted``, ``range``, ``triplet`` and ``proxy``.

No table says how it weighed these losses. The weights here are ours: with them the gradient that the embedding loss
gives the backbone is 0.16 to 0.45 of cross-entropy's at the start (ResNet-8 at random, a batch of 64 of MNIST-5k-LT:
lifted 0.45, range 0.34, triplet 0.16, proxy 0.25), so that it shapes the features and classification still leads.
"""

from typing import Any

from ml_collections.config_dict import ConfigDict


def lifted(config: ConfigDict, dataset: str) -> None:
    """Oh Song et al., CVPR 2016."""
    del dataset
    _class_aware(
        config,
        weight=0.1,  # of the embedding loss, beside a cross-entropy of weight 1
        margin=1.0,  # the paper's
        normalize=False,  # unit vectors; the paper's are as they come
    )


def range(config: ConfigDict, dataset: str) -> None:  # the method's name; the builtin one is not needed here
    """Zhang et al., "Range loss for deep face recognition with long-tailed training data", ICCV 2017."""
    del dataset
    _class_aware(
        config,
        weight=1.0,
        k=2,  # distances in a class's harmonic mean; the paper's
        margin=1.0,  # between squared distances of centres
        alpha=0.1,  # weight of the ranges
        beta=1.0,  # weight of the centres
        # The paper's weights and margin go with the lengths of its features; on unit vectors they need not. As they
        # come, the same settings gave 17 times cross-entropy's gradient.
        normalize=True,
    )


def triplet(config: ConfigDict, dataset: str) -> None:
    """The tables cite the triplet network (Hoffer and Ailon, 2015): squared softmax ratio, features as they come."""
    del dataset
    _class_aware(
        config,
        weight=1.0,
        form="ratio",  # or margin: FaceNet's, which wants normalize=True
        margin=0.2,  # of the form "margin"; FaceNet's
        normalize=False,
    )


def proxy(config: ConfigDict, dataset: str) -> None:
    """Movshovitz-Attias et al., ICCV 2017: static proxies, one a class, unit vectors."""
    del dataset
    _class_aware(config, weight=1.0, normalize=True)


def _class_aware(config: ConfigDict, **settings: Any) -> None:
    """Four images of a class in a row, all classes alike, as OLTR's authors trained what they compare with.

    They say so at github.com/zhmiao/OpenLongTailRecognition-OLTR/issues/44. It also gives the losses their pairs.
    """
    config.data.sampler = "class_cycle"
    config.baseline = ConfigDict(settings)
