"""Cross-entropy on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar10_ce.py --workdir=runs/cifar10_ce --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":short,imbalance=10".
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "ce", arg)
