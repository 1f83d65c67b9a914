"""The baselines of the papers' tables on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_baselines.py:ldam_drw --workdir=runs/ldam_drw --config.data.dir=DIR

The word behind the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, lifted, range, triplet, proxy, oltr; without one
it is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

Cui et al. (2022, ResLT), table 5, at 200 epochs, imbalance 100 / 50 / 10 (%): focal 38.4 / 44.3 / 55.8,
mixup 39.5 / 45.0 / 58.0, cb_focal 39.6 / 45.2 / 58.0, ldam 39.6 / - / 56.9, ce_drw 41.5 / 45.3 / 58.1,
ce_drs 41.6 / 45.5 / 58.1,
ldam_drw 42.0 / 46.6 / 58.7, bbn 42.6 / 47.0 / 59.1, causal_norm 44.1 / 50.3 / 59.6, ride 48.6 / - / -.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar100", "baselines", arg)
