"""ResLT (Cui et al., 2022) on MNIST-5k-LT (imbalance 40), the data that needs no download.

python -m ltjax.main --config=configs/mnist5k_reslt.py --workdir=runs/mnist5k_reslt

Arguments: ":short" (ten epochs), ":alpha=0.9", ":groups=2" to 5, ":experts=3", ":strong" (mixup), ":variant=a" to e,
":variant=baseline", ":variant=grouped_conv" and "separate_conv".

Test accuracy of the last epoch, seeds 0, 1, 2, many / medium / few / all (%): 98.3 +- 0.1 / 95.2 +- 1.7 / 81.8 +- 4.9 /
93.8 +- 1.1.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "reslt", arg)
