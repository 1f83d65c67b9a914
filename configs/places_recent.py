"""The methods since 2021 on Places-LT, ResNet-152 from ImageNet weights, 30 epochs.

python -m ltjax.main --config=configs/places_recent.py:balanced_softmax --workdir=runs/recent --config.data.dir=DIR \\
    --config.model.pretrained=FILE

The word after the colon is one of: balanced_softmax, bcl, cmo, disalign, gcl, glmc, gpaco, ib, lade, mdcs, mislas,
paco, proco, sade, shike, vs, weight_balancing.
Further words: ":balanced_softmax,short", and so on.
Not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.recent import recent_words
from ltjax.settings.config_file import large_runs

# method, in alphabetical order -> settings of its authors for this data set that differ from the recipe below
RECIPES = {
    # not published: as on ImageNet-LT, with this file's training
    "bcl": {
        "bcl.augment": "crop224_flip_simclr",
        "bcl.classification_weight": 1.0,
        "bcl.contrastive_weight": 0.35,
        "bcl.temperature": 0.07,
        "bcl.width": 1024,
        "bcl.hidden": 0,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
    },
    # not published: the second stage as ImageNet-LT
    "disalign": {
        "second_stage_optimizer.learning_rate": 0.1,
        "second_stage_optimizer.backbone_rate": 1.0,
    },
    # a block on top of the pretrained network, here its last block; the authors' second stage mixes labels but not
    # the images
    "gcl": {
        "mix.alpha": 0.2,
        "gcl.representation": "last_block",
        "gcl.cloud": 1.0,
        "gcl.second_scale": 15.0,
        "gcl.second_mixup": 0.0,
        "epochs": 90,
        "batch_size": 512,
        "optimizer.learning_rate": 0.2,
        "optimizer.backbone_rate": 1.0,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (60, 80),
        "optimizer.schedule.decay": 0.1,
        "second_stage_optimizer.learning_rate": 0.002,
        "second_stage_optimizer.schedule.name": "cosine",
        "second_stage_optimizer.schedule.unit": "epoch",
        "second_stage_optimizer.schedule.cosine_includes": "start",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    # not published: as on ImageNet-LT, with this file's training
    "glmc": {
        "glmc.label_power": 1.0,
        "glmc.resample_power": 0.2,
        "glmc.width": 256,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
    },
    # with this file's training, in place of the authors' last block
    "gpaco": {
        "gpaco.augment": "crop224_flip_jitter_grey_blur",
        "gpaco.width": 128,
        "gpaco.queue": 8192,
        "gpaco.temperature": 0.2,
        "gpaco.alpha": 0.02,
        "data.augment": "crop224_flip_jitter_grey_blur",
        "epochs": 30,
    },
    # not published: the steps of CIFAR in parts of the epochs
    "ib": {
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.milestones": (15, 24, 27),
        "optimizer.schedule.decay": 0.01,
    },
    # the backbone's rate is 0.001; the script counts epochs from 1: it decays after 9 and 19 finished epochs
    "lade": {
        "lade.alpha": 5e-3,
        "lade.penalty": 0.1,
        "lade.weighted_by": "class",
        "batch_size": 128,
        "optimizer.learning_rate": 0.05,
        "optimizer.backbone_rate": 0.02,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.milestones": (9, 19),
        "optimizer.schedule.decay": 0.1,
    },
    # the classifiers' rate is 0.01, that of everything else 0.001; the strong view is that of ImageNet-LT
    "mdcs": {
        "model.backbone": "ride_resnet152",
        "mdcs.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
        "mdcs.reduce": False,
        "batch_size": 64,
        "optimizer.learning_rate": 0.01,
        "optimizer.backbone_rate": 0.1,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 4e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1,
    },
    # a block on top of the pretrained network, here its last block
    "mislas": {
        "mix.alpha": 0.2,
        "mislas.representation": "last_block",
        "mislas.classifier_rate": 0.05,
        "epochs": 90,
        "optimizer.learning_rate": 0.1,
        "optimizer.backbone_rate": 1.0,
        "optimizer.schedule.cosine_includes": "start",
    },
    # with this file's training, in place of the authors'
    "paco": {
        "paco.augment": "crop224_flip_jitter_grey_blur",
        "paco.width": 128,
        "paco.queue": 8192,
        "paco.temperature": 0.2,
        "paco.alpha": 0.05,
        "data.augment": "crop224_flip_jitter_grey_blur",
        "epochs": 30,
    },
    # not published: as on ImageNet-LT, with this file's training
    "proco": {
        "proco.augment": "crop224_flip_simclr",
        "proco.classifier": "cosine",
        "proco.temperature": 0.07,
        "proco.width": 1024,
        "proco.hidden": 0,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
    },
    # the classifiers' rate is 0.01, that of everything else 0.001
    "sade": {
        "model.backbone": "ride_resnet152",
        "sade.tau": 1.0,
        "sade.reduce": False,
        "batch_size": 128,
        "optimizer.learning_rate": 0.01,
        "optimizer.backbone_rate": 0.1,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 4e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.milestones": (10, 20),
        "optimizer.schedule.decay": 0.1,
    },
    # ours: not published for this data set
    "shike": {
        "model.backbone": "shike_resnet152",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    # not published: as CIFAR-100-LT
    "vs": {
        "vs.gamma": 0.05,
        "vs.tau": 0.75,
    },
    # not published: the second stage's rate by the batch size
    "weight_balancing": {
        "second_stage_optimizer.learning_rate": 0.04,
        "second_stage_optimizer.backbone_rate": 1.0,
    },
}


def get_config(arg=None):
    config = new_config("balanced_softmax", recipe="places_lt", family="recent")
    large_runs(config)
    config.data.update(name="places_lt", imbalance=1.0, augment="crop224_flip_jitter")
    config.model.update(backbone="resnet152", needs_pretrained=True)
    config.epochs = 30
    config.batch_size = 256
    # the head's rate is 0.05, the backbone's 5e-4
    config.optimizer.update(learning_rate=0.05, momentum=0.9, weight_decay=5e-4, backbone_rate=0.01)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    return with_words(config, arg, recent_words(RECIPES))
