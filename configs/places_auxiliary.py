"""CBS+RRS+SS (Zhang et al., To Balance or not to Balance, 2019) on Places-LT, ResNet-152 that ImageNet has trained, 30 epochs.

python -m ltjax.main --config=configs/places_auxiliary.py --workdir=runs/places_auxiliary --config.data.dir=DIR \
    --config.model.pretrained=resnet152.npz

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs), ":backbone=resnet50".

The paper's table 1, many / medium / few (>= 100, <= 20 images) / all (%): 42.5 / 40.6 / 32.6 / 39.6. Ours is not
measured yet. The backbone's rate is 0.0005, the head's 0.05. Four GPUs with 80 GB, or a TPU slice.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("places", "auxiliary", arg)
