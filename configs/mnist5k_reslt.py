"""ResLT (Cui et al., 2022) on MNIST-5k-LT (imbalance 40), the data that needs no download.

python -m ltjax.main --config=configs/mnist5k_reslt.py --workdir=runs/mnist5k_reslt
"""

from ltjax import presets


def get_config(arg=None):
    return presets.mnist5k("reslt", arg)
