"""CBS+RRS+SS (Zhang et al., 2019, To Balance or not to Balance) on iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_auxiliary.py --workdir=runs/inat_auxiliary --config.data.dir=DIR

Arguments: ":no_ss" (CBS+RRS), ":rrs_only", ":cbs_only", ":ft" (ftRRS+CBS), ":weights=1:1", ":rotation=all_four" (or
augmentation, augmentation_all_four, none), ":images_per_class=4", ":short" (ten epochs).

The paper has no iNaturalist; ours is not measured yet. A step has four batches of 256: meant
for four GPUs of 80 GB.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("inat", "auxiliary", arg)
