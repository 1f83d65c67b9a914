"""ResLT (Cui et al., 2022) on MNIST-5k-LT (imbalance 40), the data that needs no download.

python -m ltjax.main --config=configs/mnist5k_reslt.py --workdir=runs/mnist5k_reslt

Two CPU cores, 33 to 35 s; test accuracy of the last epoch, seeds 0, 1, 2, many / medium / few / all (%):
98.0 +- 0.7 / 96.0 +- 0.2 / 85.5 +- 3.8 / 94.7 +- 0.7.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.mnist5k("reslt", arg)
