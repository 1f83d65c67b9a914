"""The baselines of the papers' tables on Places-LT, ResNet-152 from ImageNet weights, 30 epochs.

python -m ltjax.main --config=configs/places_baselines.py:ldam_drw --workdir=runs/places_ldam_drw --config.data.dir=DIR

The word behind the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, lifted, range, triplet, proxy, oltr; without one
it is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

The papers report (%): lifted 35.2, focal 34.6, range 35.1, cost_sensitive 34.2, oltr 35.9. Ours are not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("places", "baselines", arg)
