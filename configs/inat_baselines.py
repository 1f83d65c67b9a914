"""The baselines of the papers' tables on iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_baselines.py:ldam_drw --workdir=runs/inat_ldam_drw --config.data.dir=DIR

The word after the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, seql, lifted, range, triplet, proxy, oltr, lfme,
fslwf, fsa; the default is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

The papers report with ResNet-50 (%): cb_focal 61.1, ldam 64.6, ldam_drw 68.0, bbn 69.6, causal_norm 64.0.
Not measured here yet.
"""

from ltjax.methods.baselines import baseline_words
from ltjax.methods.configure import new_config, with_words
from ltjax.methods.oltr_recipe import oltr_word, on_word
from ltjax.settings.config_file import large_runs

# method -> settings in its authors' script for this data set that differ from the recipe below
RECIPES = {
    # the authors' ImageNet script of few-shot learning
    "fslwf": {
        "baseline.attention_scale": 30.0,
    },
    # the authors' script has 120 and 160 and counts epochs from 1: it decays after 119 and 159 finished epochs
    "bbn": {
        "model.backbone": "bbn_resnet50",
        "epochs": 180,
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 1e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.milestones": (119, 159),
        "optimizer.schedule.decay": 0.1,
    },
    "ride": {
        "model.backbone": "ride_resnet50",
        "baseline.reweight_factor": 0.015,
        "epochs": 100,
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
        "optimizer.backbone_rate": 1.0,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 2e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (60, 80),
        "optimizer.schedule.decay": 0.1,
    },
    # alpha is not published; as ImageNet-LT
    "causal_norm": {
        "model.backbone": "resnet50",
        "baseline.alpha": 3.0,
        "baseline.momentum": "learning_rate",
        "epochs": 90,
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
        "optimizer.backbone_rate": 1.0,
    },
}
OLTR = oltr_word(second_stage_epochs=60, first={})


def get_config(arg=None):
    config = new_config("ldam_drw", recipe="inat2018", family="baselines")
    large_runs(config)
    config.data.update(name="inat2018", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet50"
    config.epochs = 200
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.2, momentum=0.9, weight_decay=1e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    words = baseline_words(RECIPES) | {
        "oltr": OLTR,
        "on": on_word(config.copy_and_resolve_references(), OLTR, epochs=30),
    }
    return with_words(config, arg, words)
