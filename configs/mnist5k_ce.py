"""Cross-entropy on MNIST-5k-LT (imbalance 40): the plain sibling of mnist5k_reslt.py.

python -m ltjax.main --config=configs/mnist5k_ce.py --workdir=runs/mnist5k_ce

Two CPU cores, 31 to 33 s (three seeds in one program 79 s); test accuracy of the last epoch, seeds 0, 1, 2, many /
medium / few / all (%): 98.5 +- 0.4 / 93.3 +- 0.7 / 76.7 +- 1.5 / 92.0 +- 0.3.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "ce", arg)
