"""Asynchronous modelling (anonymous, under review) on iNaturalist 2018, ResNet-50, 200 epochs a phase.

python -m ltjax.main --config=configs/inat_asynchronous.py --workdir=runs/inat_async --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars of a class), ":split=4000" (classes of the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":backbone=resnet152".

GPUs or TPUs, as many as there are. The paper has 69.8 %, with ResNet-152 72.5 % (table 4); ours is not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("inat", "asynchronous", arg)
