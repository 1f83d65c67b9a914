"""ResLT (Cui et al., 2022) on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_reslt.py --workdir=runs/cifar100_reslt --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":alpha=0.9" (figure 5), ":groups=2" to 5 (table 9), ":width=2"
(figure 4), ":experts=3" (RIDE's backbone), ":strong" (mixup and AutoAugment), ":long" (400 epochs), ":variant=a" to e
(figure 2), ":variant=baseline" (section 3.1), ":variant=grouped_conv" and "separate_conv" (figure 7).

The paper has 45.34 % (imbalance 50: 49.98, 10: 60.79), 48.21 % with ":strong", 49.73 % with ":experts=3" (table 5), at
200 epochs; ours is not measured yet. ":short" on two CPU cores, last epoch, many / medium / few / all (%): seed 0
26.1 / 28.7 / 8.0 / 21.6.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar100", "reslt", arg)
