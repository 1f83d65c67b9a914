"""The baselines of the papers' tables on ImageNet-LT, ResNeXt-50, 90 epochs.

python -m ltjax.main --config=configs/imagenet_baselines.py:ldam_drw --workdir=runs/ldam_drw --config.data.dir=DIR

The word after the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, seql, lifted, range, triplet, proxy, oltr, lfme,
fslwf, fsa; the default is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50".

The papers report with ResNet-10 (:oltr,backbone=resnet10 and so on; %): lifted 30.8, focal 30.5, range 30.7,
cost_sensitive 31.2, oltr 35.6; with ResNet-50: triplet 40.0, focal 40.1, proxy 39.8, cost_sensitive 39.6; with
ResNeXt-50: mixup 46.3, causal_norm 51.9, oltr (our representation) 46.3. Not measured here yet.
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
    # not published
    "bbn": {
        "model.backbone": "bbn_resnet50",
    },
    "ride": {
        "model.backbone": "ride_resnext50_32x4d",
        "baseline.reweight_factor": 0.02,
        "epochs": 100,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.backbone_rate": 1.0,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 2e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (60, 80),
        "optimizer.schedule.decay": 0.1,
    },
    # the student's batch size for all (the authors' experts have less); the student's rate falls at the start of the
    # epochs 50 and 80, counted from 1
    "lfme": {
        "epochs": 120,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.backbone_rate": 1.0,
        "second_stage_epochs": 90,
        "second_stage_optimizer.schedule.name": "step",
        "second_stage_optimizer.schedule.milestones": (49, 79),
        "second_stage_optimizer.schedule.decay": 0.1,
    },
    "causal_norm": {
        "model.backbone": "resnext50_32x4d",
        "baseline.alpha": 3.0,
        "baseline.momentum": "learning_rate",
        "epochs": 90,
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
        "optimizer.backbone_rate": 1.0,
    },
}
# OLTR's authors: 30 epochs for the first stage, 60 for the memory with a rate of 0.01 for the features and 0.1 for the
# classifier; the rate decays by 10 after each third. The 512-d layer is in the second stage only
OLTR = oltr_word(
    second_stage_epochs=60,
    first={
        "model.features": 512,
        "oltr.first_stage_features": False,
        "epochs": 30,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1,
    },
    second={
        "second_stage_optimizer.learning_rate": 0.1,
        "second_stage_optimizer.backbone_rate": 0.1,
    },
)


def get_config(arg=None):
    config = new_config("ldam_drw", recipe="imagenet_lt", family="baselines")
    large_runs(config)
    config.data.update(name="imagenet_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.backbone = "resnext50_32x4d"
    config.epochs = 90
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.2, momentum=0.9, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    words = baseline_words(RECIPES) | {
        "oltr": OLTR,
        "on": on_word(config.copy_and_resolve_references(), OLTR, epochs=10),
    }
    return with_words(config, arg, words)
