"""The methods since 2021 on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_recent.py:balanced_softmax --workdir=runs/recent --config.data.dir=DIR

The word after the colon is one of: balanced_softmax, bcl, cmo, disalign, gcl, glmc, gpaco, ib, lade, mdcs, mislas,
paco, proco, sade, shike, vs, weight_balancing.
Further words: ":balanced_softmax,short", and so on.
Not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.recent import recent_words
from ltjax.settings.config_file import cifar_runs

# method, in alphabetical order -> settings of its authors for this data set that differ from the recipe below
RECIPES = {
    # not in the authors' code; the values are not confirmed
    "bcl": {
        "bcl.augment": "simclr",
        "data.augment": "autoaugment_flip_cutout",
        "batch_size": 256,
        "optimizer.learning_rate": 0.15,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.decay": 0.1,
    },
    # not published: the second stage as ImageNet-LT
    "disalign": {
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "end",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    "gcl": {
        "batch_size": 64,
        "optimizer.schedule.decay": 0.1,
        "second_stage_optimizer.learning_rate": 0.008,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "start",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    # the authors' ResNet-32 has four times the channels
    "glmc": {
        "model.width": 4,
        "batch_size": 64,
        "optimizer.learning_rate": 0.01,
        "optimizer.weight_decay": 5e-3,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.cosine_includes": "neither",
    },
    # the rate falls after 321 and 361 epochs
    "gpaco": {
        "gpaco.augment": "simclr_blur20",
        "data.augment": "autoaugment_flip_cutout",
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.milestones": (321, 361),
        "optimizer.schedule.decay": 0.1,
    },
    # the rate falls with the start of the influence-balanced loss, too
    "ib": {
        "optimizer.schedule.milestones": (100, 160, 180),
    },
    # the authors' script counts epochs from 1: it decays after 119 and 159 finished epochs
    "lade": {
        "lade.penalty": 0.01,
        "lade.weighted_by": "class",
        "batch_size": 256,
        "optimizer.learning_rate": 0.2,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_start": 1 / 3,
        "optimizer.schedule.milestones": (119, 159),
    },
    "mdcs": {
        "model.backbone": "ride_resnet32",
        "data.augment": "pad_crop_flip_rotate15",
        "mdcs.augment": "autoaugment_flip_cutout",
        "epochs": 400,
        "batch_size": 64,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.milestones": (200, 320, 380),
        "optimizer.schedule.decay": 0.1,
    },
    "mislas": {
        "optimizer.schedule.decay": 0.1,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "start",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    # the rate falls after 321 and 361 epochs
    "paco": {
        "paco.augment": "simclr_blur",
        "data.augment": "autoaugment_flip_cutout",
        "optimizer.learning_rate": 0.05,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.milestones": (321, 361),
        "optimizer.schedule.decay": 0.1,
    },
    "proco": {
        "proco.augment": "simclr",
        "data.augment": "autoaugment_flip_cutout",
        "batch_size": 256,
        "optimizer.learning_rate": 0.3,
        "optimizer.schedule.decay": 0.1,
    },
    "sade": {
        "model.backbone": "ride_resnet32",
        "data.augment": "pad_crop_flip_rotate15",
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.decay": 0.1,
    },
    "shike": {
        "model.backbone": "shike_resnet32",
        "data.augment": "autoaugment_flip_cutout",
        "epochs": 180,
        "optimizer.learning_rate": 0.15,
        "optimizer.weight_decay": 5e-4,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.cosine_includes": "neither",
        "optimizer.schedule.warmup_epochs": 6,
        "second_stage_optimizer.learning_rate": 0.1,
        "second_stage_optimizer.schedule.warmup_start": 0.25,
    },
    # the values are not confirmed
    "vs": {
        "vs.gamma": 0.05,
        "vs.tau": 0.75,
    },
    "weight_balancing": {
        "batch_size": 64,
        "optimizer.learning_rate": 0.01,
        "optimizer.weight_decay": 5e-3,
        "optimizer.schedule.name": "cosine",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.cosine_includes": "end",
        "optimizer.schedule.warmup_epochs": 0,
    },
}


def get_config(arg=None):
    config = new_config("balanced_softmax", recipe="cifar100", family="recent")
    cifar_runs(config)
    config.data.update(name="cifar100", imbalance=100.0, augment="pad_crop_flip")
    config.model.backbone = "resnet32"
    config.epochs = 200
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, weight_decay=2e-4)
    config.optimizer.schedule.update(name="step", unit="epoch", warmup_epochs=5, milestones=(160, 180), decay=0.01)
    config.evaluation.update(index_boundaries=(35, 70))
    return with_words(config, arg, recent_words(RECIPES))
