"""Asynchronous modelling (anonymous, under review) on CIFAR-10-LT (imbalance 100), ResNet-32, two phases of 200 epochs.

python -m ltjax.main --config=configs/cifar10_asynchronous.py --workdir=runs/cifar10_asynchronous --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars of a class), ":split=5" (classes of the first
phase), ":lambda=2" or ":lambda_base=2", ":literal" (losses as printed: sums over nodes and all classes, raw features),
":imbalance=50", ":short" (ten epochs each).

One GPU; not measured yet. The paper has no CIFAR-10, and at imbalance 100 all classes have 50 images or more: the first
phase takes the 7 most frequent, the share of its CIFAR-100.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "asynchronous", arg)
