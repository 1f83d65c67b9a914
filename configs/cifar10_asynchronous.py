"""Asynchronous modelling (anonymous, under review) on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs a phase.

python -m ltjax.main --config=configs/cifar10_asynchronous.py --workdir=runs/cifar10_async --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars of a class), ":split=5" (classes of the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":imbalance=50", ":short" (ten epochs a phase).

One GPU; not measured yet. The paper has no CIFAR-10, and at imbalance 100 all classes have 50 images or more: the
first phase takes the 7 most frequent, the share that it has of CIFAR-100.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "asynchronous", arg)
