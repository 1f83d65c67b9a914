"""Cross-entropy on MNIST-5k-LT (imbalance 40): the plain sibling of mnist5k_reslt.py.

python -m ltjax.main --config=configs/mnist5k_ce.py --workdir=runs/mnist5k_ce
"""

from ltjax import presets


def get_config(arg=None):
    return presets.mnist5k("ce", arg)
