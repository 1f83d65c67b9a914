"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar10_auxiliary.py --workdir=runs/cifar10_auxiliary --config.data.dir=DIR

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs), ":imbalance=50".

The paper has no CIFAR; ours is not measured yet. Meant for one GPU.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "auxiliary", arg)
