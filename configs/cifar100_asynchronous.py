"""Asynchronous modelling (anonymous, under review) on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs a phase.

python -m ltjax.main --config=configs/cifar100_asynchronous.py --workdir=runs/cifar100_async --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars of a class), ":split=60" (classes of the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":imbalance=50", ":short" (ten epochs a phase).

One GPU. The paper has 44.79 % (plain 42.48 %), at imbalance 200 40.53 % (39.35 %), at 50 49.32 % (47.61 %) (table 3);
ours is not measured yet. The first phase takes the classes with 20 images or more, 70 at imbalance 100; at imbalance
10 all have, and ":split=60" must say how many.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar100", "asynchronous", arg)
