"""The baselines of the papers' tables on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_baselines.py:ldam_drw --workdir=runs/ldam_drw --config.data.dir=DIR

The word after the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, seql, lifted, range, triplet, proxy, oltr, lfme,
fslwf, fsa; the default is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

Cui et al. (2022, ResLT), table 5, at 200 epochs, imbalance 100 / 50 / 10 (%): focal 38.4 / 44.3 / 55.8, mixup 39.5 /
45.0 / 58.0, cb_focal 39.6 / 45.2 / 58.0, ldam 39.6 / - / 56.9, ce_drw 41.5 / 45.3 / 58.1, ce_drs 41.6 / 45.5 / 58.1,
ldam_drw 42.0 / 46.6 / 58.7, bbn 42.6 / 47.0 / 59.1, causal_norm 44.1 / 50.3 / 59.6, ride 48.6 / - / -.
"""

from ltjax.methods.baselines import baseline_words
from ltjax.methods.configure import new_config, with_words
from ltjax.methods.oltr_recipe import oltr_word, on_word
from ltjax.settings.config_file import cifar_runs

# method -> settings in its authors' script for this data set that differ from the recipe below
RECIPES = {
    # the authors' script has 120 and 160 and counts epochs from 1: it decays after 119 and 159 finished epochs
    "bbn": {
        "model.backbone": "bbn_resnet32",
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 2e-4,
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.warmup_start": 1 / 3,
        "optimizer.schedule.milestones": (119, 159),
        "optimizer.schedule.decay": 0.01,
    },
    # not published: the groups of the tables
    "lfme": {
        "baseline.boundaries": (35, 70),
    },
    # not published: the few-shot classes of the tables are the rare ones
    "fsa": {
        "baseline.head_classes": 70,
    },
    # not published: they are the novel ones
    "fslwf": {
        "baseline.base_classes": 70,
    },
    "ride": {
        "model.backbone": "ride_resnet32",
        "baseline.diversity": -0.45,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (160, 180),
        "optimizer.schedule.decay": 0.01,
    },
    # on BBN's network, with both branches, and on its schedule
    "causal_norm": {
        "model.backbone": "bbn_resnet32",
        "baseline.alpha": 1.5,
        "batch_size": 256,
        "optimizer.learning_rate": 0.2,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.warmup_start": 1 / 3,
        "optimizer.schedule.milestones": (119, 159),
        "optimizer.schedule.decay": 0.01,
    },
}
OLTR = oltr_word(second_stage_epochs=60, first={})


def get_config(arg=None):
    config = new_config("ldam_drw", recipe="cifar100", family="baselines")
    cifar_runs(config)
    config.data.update(name="cifar100", imbalance=100.0, augment="pad_crop_flip")
    config.model.backbone = "resnet32"
    config.epochs = 200
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=2e-4)
    config.optimizer.schedule.update(name="step", unit="epoch", warmup_epochs=5, milestones=(160, 180), decay=0.01)
    config.evaluation.update(index_boundaries=(35, 70))
    words = baseline_words(RECIPES) | {
        "oltr": OLTR,
        "on": on_word(config.copy_and_resolve_references(), OLTR, epochs=10),
    }
    return with_words(config, arg, words)
