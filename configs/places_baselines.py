"""The baselines of the papers' tables on Places-LT, ResNet-152 from ImageNet weights, 30 epochs.

python -m ltjax.main --config=configs/places_baselines.py:ldam_drw --workdir=runs/places_ldam_drw \\
    --config.data.dir=DIR --config.model.pretrained=FILE

The word after the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, seql, lifted, range, triplet, proxy, oltr, lfme,
fslwf, fsa; the default is ldam_drw. Further words: ":bbn,short", ":focal,from_scratch" (random weights, one rate for
all).

The papers report (%): lifted 35.2, focal 34.6, range 35.1, cost_sensitive 34.2, oltr 35.9. Not measured here yet.
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
    # not published; two branches, for which there are no pretrained weights
    "bbn": {
        "model.backbone": "bbn_resnet50",
        "model.needs_pretrained": False,
        "optimizer.backbone_rate": 1.0,
    },
    # not published: as ImageNet-LT, from random weights
    "ride": {
        "model.backbone": "ride_resnext50_32x4d",
        "model.needs_pretrained": False,
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
    # as ImageNet-LT, from random weights
    "causal_norm": {
        "model.backbone": "resnext50_32x4d",
        "model.needs_pretrained": False,
        "baseline.alpha": 3.0,
        "baseline.momentum": "learning_rate",
        "epochs": 90,
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
        "optimizer.backbone_rate": 1.0,
    },
}
# OLTR's authors: 30 epochs for the first stage with a rate of 0.001 for the features and 0.1 for the classifier, 30 for
# the memory with 1e-4 for the 512-d layer and the attention and 0.01 for the classifier, while the backbone is frozen;
# the rate decays by 10 after each third. The centroids' rate is 0.01
OLTR = oltr_word(
    second_stage_epochs=30,
    first={
        "model.features": 512,
        "epochs": 30,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.backbone_rate": 0.01,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.warmup_epochs": 0,
        "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1,
    },
    second={
        "second_stage_optimizer.learning_rate": 0.01,
        "second_stage_optimizer.backbone_rate": 0.01,
        "oltr.train_backbone": False,
        "oltr.norm": "batch",
        "oltr.centroid_rate": 100.0,
    },
)


def get_config(arg=None):
    config = new_config("ldam_drw", recipe="places_lt", family="baselines")
    large_runs(config)
    config.data.update(name="places_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.update(backbone="resnet152", needs_pretrained=True)
    config.epochs = 30
    config.batch_size = 256
    # the head's rate is 0.05, the backbone's 5e-4
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4, backbone_rate=0.01)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    words = baseline_words(RECIPES) | {
        "oltr": OLTR,
        "on": on_word(config.copy_and_resolve_references(), OLTR, epochs=10, learning_rate=0.1),
    }
    return with_words(config, arg, words)
