"""The baselines of the papers' tables on any folder of class folders, ResNet-10, 100 epochs (BBN 50).

python -m ltjax.main --config=configs/folder_baselines.py --workdir=runs/folder_baselines --config.data.dir=DIR

DIR holds class folders (DIR/rose/1.jpg), or train/ and test/ (or val/) of class folders; without test images a fifth of
every class is held out (--config.data.test_fraction).

The word after the colon is one of: focal, cb_ce, cb_focal, cost_sensitive, ldam, ldam_drw, ce_drw, ce_drs, mixup,
cutmix, bbn, causal_norm, ride, balanced_softmax, logit_adjustment, seql, lifted, range, triplet, proxy, oltr, lfme,
fslwf, fsa; the default is ldam_drw: folder_baselines.py:balanced_softmax. Further words: ":bbn,short",
":image_size=128", ":backbone=resnet50", ":pretrained=FILE" (fine-tuning: 30 % of the epochs, a tenth of the rate for
the backbone), ":epochs=30", ":batch_size=128", ":short" (ten epochs).

The numbers of the methods are those of their authors' scripts for image files, the training is that of folder_ce.py.
Not tuned on any data set.
"""

from ltjax.methods.baselines import baseline_words
from ltjax.methods.configure import new_config, with_words
from ltjax.methods.oltr_recipe import oltr_word, on_word
from ltjax.settings.config_file import fine_tuned, user_runs

# method -> settings that differ from the recipe below
RECIPES = {
    # a step has two batches, so this is 100 epochs' worth of images
    "bbn": {
        "model.backbone": "bbn_resnet10",
        "epochs": 50,
    },
    "ride": {
        "model.backbone": "ride_resnet10",
    },
    # alpha between the authors' 1 for 10 classes and 3 for 1,000; the mean follows the rate, as off CIFAR
    "causal_norm": {
        "baseline.alpha": 1.5,
        "baseline.momentum": "learning_rate",
    },
    # the authors' ImageNet script of few-shot learning
    "fslwf": {
        "baseline.attention_scale": 30.0,
    },
}
# ImageNet-LT's second stage from random weights, at half the rate for half the batch
OLTR = oltr_word(
    second_stage_epochs=50,
    first={},
    second={"second_stage_optimizer.learning_rate": 0.05, "second_stage_optimizer.backbone_rate": 0.1},
)


def get_config(arg=None):
    config = new_config("ldam_drw", recipe="folder", family="baselines")
    user_runs(config)
    config.data.update(name="folder", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet10"
    config.epochs = 100
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    words = baseline_words(RECIPES) | {
        "pretrained": fine_tuned,
        "oltr": OLTR,
        "on": on_word(config.copy_and_resolve_references(), OLTR, epochs=10),
    }
    return with_words(config, arg, words)
