"""Asynchronous modelling (anonymous, under review) on Places-LT, pretrained ResNet-152, 60 epochs a phase.

python -m ltjax.main --config=configs/places_asynchronous.py --workdir=runs/places_async --config.data.dir=DIR

Arguments: ":plain" (one phase, the paper's baseline), ":bank=10" (exemplars of a class), ":split=250" (classes of the
first phase), ":lambda=2" or ":lambda_base=2", ":literal" (the losses as printed: sums over nodes and over all classes,
raw features), ":backbone=resnet50".

GPUs or TPUs, as many as there are; --config.model.pretrained=FILE has the backbone that ImageNet has trained. The paper
has 39.8 %, many / medium / few 44.2 / 40.2 / 30.9 (plain 37.6: 46.2 / 36.3 / 24.5) (table 1); ours is not measured
yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("places", "asynchronous", arg)
