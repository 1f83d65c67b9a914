"""The baselines of the papers' tables on iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_baselines.py:ldam_drw --workdir=runs/inat_ldam_drw --config.data.dir=DIR

The word behind the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, lifted, range, triplet, proxy, oltr; without one
it is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

The papers report with ResNet-50 (%): cb_focal 61.1, ldam 64.6, ldam_drw 68.0, bbn 69.6, causal_norm 64.0.
Ours are not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("inat", "baselines", arg)
