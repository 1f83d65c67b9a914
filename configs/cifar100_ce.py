"""Cross-entropy on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_ce.py --workdir=runs/cifar100_ce --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":short,imbalance=10".
"""

from ltjax import presets


def get_config(arg=None):
    return presets.cifar("cifar100", "ce", arg)
