"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on ImageNet-LT, ResNet-10, 90 epochs.

python -m ltjax.main --config=configs/imagenet_auxiliary.py --workdir=runs/imagenet_auxiliary --config.data.dir=DIR

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs), ":backbone=resnet50".

The paper's table 1, many / medium / few (>= 100, <= 20 images) / all (%): 52.4 / 39.5 / 21.0 / 41.9; table 2 with
ResNet-50: 60.2 / 44.0 / 23.1 / 47.3. Ours is not measured yet. A step has four batches of 128: meant for one
GPU of 80 GB.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("imagenet", "auxiliary", arg)
