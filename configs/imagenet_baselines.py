"""The baselines of the papers' tables on ImageNet-LT, ResNeXt-50, 90 epochs.

python -m ltjax.main --config=configs/imagenet_baselines.py:ldam_drw --workdir=runs/ldam_drw --config.data.dir=DIR

The word behind the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, lifted, range, triplet, proxy, oltr; without one
it is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

The papers report with ResNet-10 (:oltr,backbone=resnet10 and so on; %): lifted 30.8, focal 30.5, range 30.7,
cost_sensitive 31.2, oltr 35.6; with ResNet-50: triplet 40.0, focal 40.1, proxy 39.8, cost_sensitive 39.6; with
ResNeXt-50: mixup 46.3, causal_norm 51.9, oltr (our representation) 46.3. Ours are not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("imagenet", "baselines", arg)
