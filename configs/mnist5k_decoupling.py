"""Decoupling (Kang et al., 2020) on MNIST-5k-LT (imbalance 40).

python -m ltjax.main --config=configs/mnist5k_decoupling.py --workdir=runs/mnist5k_decoupling
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "decoupling", arg)
