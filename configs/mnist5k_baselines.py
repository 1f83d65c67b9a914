"""The baselines of the papers' tables on MNIST-5k-LT (imbalance 40), ResNet-8, 20 epochs (BBN 10).

python -m ltjax.main --config=configs/mnist5k_baselines.py:ldam_drw --workdir=runs/mnist5k_ldam_drw

The word behind the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, lifted, range, triplet, proxy, oltr; without one
it is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50". README has the accuracy of each over three seeds.
"""

from ltjax import presets


def get_config(arg=None):
    return presets.build("mnist5k", "baselines", arg)
