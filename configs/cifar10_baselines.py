"""The baselines of the papers' tables on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar10_baselines.py:ldam_drw --workdir=runs/ldam_drw --config.data.dir=DIR

The word behind the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, lifted, range, triplet, proxy, oltr; without one
it is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

Cui et al. (2022, ResLT), table 5, at 200 epochs, imbalance 100 / 50 / 10 (%): focal 70.4 / 76.7 / 86.7,
mixup 73.1 / 77.8 / 87.1, cb_focal 74.6 / 79.3 / 87.1, ldam 73.4 / - / 87.0, ce_drw 76.3 / 80.0 / 87.6,
ce_drs 75.6 / 79.8 / 87.4,
ldam_drw 77.0 / 81.0 / 88.2, bbn 79.8 / 82.2 / 88.3, causal_norm 80.6 / 83.6 / 88.5. Ours are not measured yet.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("cifar10", "baselines", arg)
