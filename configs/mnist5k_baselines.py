"""The baselines of the papers' tables on MNIST-5k-LT (imbalance 40), ResNet-8, 20 epochs (BBN 10).

python -m ltjax.main --config=configs/mnist5k_baselines.py:ldam_drw --workdir=runs/mnist5k_ldam_drw

The word after the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, seql, lifted, range, triplet, proxy, oltr, lfme,
fslwf, fsa; the default is ldam_drw. Further words: ":bbn,short", ":ride,imbalance=50". docs/results.md has
the accuracy of each over three seeds.
"""

from ltjax.methods.baselines import baseline_words
from ltjax.methods.configure import new_config, with_words
from ltjax.methods.oltr_recipe import oltr_word, on_word

# method -> settings in its authors' script for this data set that differ from the recipe below
RECIPES = {
    # a step has two batches, so this is 20 epochs' worth of images
    "bbn": {
        "model.backbone": "bbn_resnet8",
        "epochs": 10,
    },
    # the few-shot expert has 25 images: an epoch of each expert draws as many as the training set has
    "lfme": {
        "baseline.expert_epoch_size": 1166,
    },
    "ride": {
        "model.backbone": "ride_resnet8",
    },
    "causal_norm": {
        "model.backbone": "bbn_resnet8",
        "baseline.alpha": 1.0,
    },
}
OLTR = oltr_word(second_stage_epochs=10, first={})


def get_config(arg=None):
    config = new_config("ldam_drw", recipe="mnist5k", family="baselines")
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.backbone = "resnet8"
    config.epochs = 20
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.update(every_epochs=5)
    config.log_every_steps = 6
    words = baseline_words(RECIPES) | {
        "oltr": OLTR,
        "on": on_word(config.copy_and_resolve_references(), OLTR, epochs=10),
    }
    return with_words(config, arg, words)
