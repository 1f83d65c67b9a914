"""ResLT (Cui et al., 2022) on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar10_reslt.py --workdir=runs/cifar10_reslt --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":alpha=0.9" (figure 5), ":groups=2" to 5 (table 9), ":width=2"
(figure 4), ":experts=3" (RIDE's backbone), ":strong" (mixup and AutoAugment), ":long" (400 epochs), ":variant=a" to e
(figure 2), ":imbalance=50,variant=baseline" (table 1), ":variant=grouped_conv" and "separate_conv" (figure 7).

The paper has 80.44 % (imbalance 50: 83.46, 10: 89.06), 82.40 % with ":strong" (table 5); ours is not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "reslt", arg)
