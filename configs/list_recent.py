"""The methods since 2021 on images from list files, ResNet-10, 100 epochs.

python -m ltjax.main --config=configs/list_recent.py --workdir=runs/list_recent --config.data.dir=DIR
    --config.data.train_list=train.txt --config.data.test_list=test.txt                     (one command)

Lines are 'relative/path label', paths relative to DIR. Without a test list a fifth of every class is held out
(--config.data.test_fraction); --config.data.val_list gives images for choices, --config.data.class_names a file with
the classes' names.

The word after the colon is one of: balanced_softmax, bcl, cmo, disalign, gcl, glmc, gpaco, ib, lade, mdcs, mislas,
paco, proco, sade, shike, vs, weight_balancing.
Further words: ":image_size=128", ":backbone=resnet50",
":pretrained=FILE" (fine-tuning: 30 % of the epochs, a tenth of the rate for the backbone), ":epochs=30",
":batch_size=128", ":short" (ten epochs).

The numbers of the methods are those of their authors for image files, the training is that of list_ce.py.
Not tuned on any data set.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.recent import recent_words
from ltjax.settings.config_file import fine_tuned, user_runs

# method, in alphabetical order -> settings that differ from the recipe below
RECIPES = {
    "bcl": {
        "bcl.augment": "crop224_flip_simclr",
        "bcl.classification_weight": 1.0,
        "bcl.contrastive_weight": 0.35,
        "bcl.temperature": 0.07,
        "bcl.width": 1024,
        "bcl.hidden": 0,
    },
    "gcl": {
        "second_stage_optimizer.learning_rate": 0.008,
    },
    "glmc": {
        "glmc.label_power": 1.0,
        "glmc.resample_power": 0.2,
        "glmc.width": 256,
    },
    "gpaco": {
        "gpaco.augment": "crop224_flip_jitter_grey_blur",
        "gpaco.width": 128,
        "gpaco.queue": 8192,
        "gpaco.temperature": 0.2,
        "gpaco.alpha": 0.05,
        "epochs": 100,
    },
    # the steps of CIFAR in parts of the epochs
    "ib": {
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.milestones": (50, 80, 90),
        "optimizer.schedule.decay": 0.01,
    },
    "mdcs": {"model.backbone": "ride_resnet10", "mdcs.distillation_warmup": 5},
    "paco": {
        "paco.augment": "crop224_flip_jitter_grey_blur",
        "paco.width": 128,
        "paco.queue": 8192,
        "paco.temperature": 0.2,
        "paco.alpha": 0.05,
        "epochs": 100,
    },
    "proco": {
        "proco.augment": "crop224_flip_simclr",
        "proco.classifier": "cosine",
        "proco.temperature": 0.07,
        "proco.width": 1024,
        "proco.hidden": 0,
    },
    "sade": {"model.backbone": "ride_resnet10"},
    "shike": {
        "model.backbone": "shike_resnet10",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    "weight_balancing": {
        "second_stage_optimizer.learning_rate": 0.01,
    },
}


def get_config(arg=None):
    config = new_config("balanced_softmax", recipe="list", family="recent")
    user_runs(config)
    config.data.update(name="list", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet10"
    config.epochs = 100
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=5)
    return with_words(config, arg, recent_words(RECIPES) | {"pretrained": fine_tuned})
