"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on MNIST-5k-LT (imbalance 40), ResNet-8, 4 epochs.

python -m ltjax.main --config=configs/mnist5k_auxiliary.py --workdir=runs/mnist5k_auxiliary

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs).

The paper has no MNIST. A step has four batches of 64 where cross-entropy has one. Test accuracy of the last epoch,
seeds 0, 1, 2, many / medium / few / all (%): 89.9 +- 0.8 / 80.9 +- 2.8 / 67.2 +- 5.4 / 81.8 +- 2.2.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "auxiliary", arg)
