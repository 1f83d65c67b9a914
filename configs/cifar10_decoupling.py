"""Decoupling (Kang et al., 2020) on CIFAR-10-LT (imbalance 100), ResNet-32.

python -m ltjax.main --config=configs/cifar10_decoupling.py --workdir=runs/cifar10_decoupling --config.data.dir=DIR
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "decoupling", arg)
