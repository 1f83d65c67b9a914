"""Decoupling (Kang et al., 2020) on CIFAR-100-LT (imbalance 100), ResNet-32.

python -m ltjax.main --config=configs/cifar100_decoupling.py --workdir=runs/cifar100_decoupling --config.data.dir=DIR
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar100", "decoupling", arg)
