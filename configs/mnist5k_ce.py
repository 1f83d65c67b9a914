"""Cross-entropy on MNIST-5k-LT (imbalance 40): the plain sibling of mnist5k_reslt.py.

python -m ltjax.main --config=configs/mnist5k_ce.py --workdir=runs/mnist5k_ce

Test accuracy of the last epoch, seeds 0, 1, 2, many / medium / few / all (%): 98.8 +- 0.4 / 91.9 +- 1.0 / 68.3 +- 3.4 /
89.9 +- 0.9.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "ce", arg)
