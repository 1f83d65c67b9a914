"""ResLT (Cui et al., 2022) on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_reslt.py --workdir=runs/cifar100_reslt --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":short,imbalance=10".

The paper has 45.3 % at 200 epochs; ours is not measured yet. ":short" on two CPU cores, last epoch, many / medium /
few / all (%): seed 0 26.1 / 28.7 / 8.0 / 21.6.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar100", "reslt", arg)
