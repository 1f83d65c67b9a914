"""Cross-entropy on MNIST-5k-LT (imbalance 40): the plain sibling of mnist5k_reslt.py.

python -m ltjax.main --config=configs/mnist5k_ce.py --workdir=runs/mnist5k_ce

Two CPU cores, 31 to 33 s; test accuracy of the last epoch, seeds 0, 1, 2, many / medium / few / all (%):
98.6 +- 0.3 / 93.5 +- 1.1 / 76.2 +- 3.0 / 92.1 +- 0.7.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.mnist5k("ce", arg)
