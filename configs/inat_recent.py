"""The methods since 2021 on iNaturalist 2018, ResNet-50, 200 epochs.

python -m ltjax.main --config=configs/inat_recent.py:balanced_softmax --workdir=runs/recent --config.data.dir=DIR

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
    "bcl": {
        "bcl.augment": "crop224_flip_simclr",
        "bcl.classification_weight": 1.0,
        "bcl.contrastive_weight": 0.35,
        "bcl.temperature": 0.07,
        "bcl.width": 1024,
        "bcl.hidden": 0,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
        "epochs": 100,
        "batch_size": 256,
        "optimizer.schedule.cosine_includes": "neither",
    },
    "cmo": {
        "epochs": 100,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.weight_decay": 2e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (75,),
        "optimizer.schedule.decay": 0.1,
    },
    # 200 epochs in batches of 256 (the name of the authors' log); not published: the rest, as ImageNet-LT
    "gcl": {
        "mix.alpha": 0.2,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "second_stage_optimizer.learning_rate": 0.032,
        "second_stage_optimizer.schedule.cosine_includes": "start",
    },
    "glmc": {
        "model.backbone": "resnext50_32x4d",
        "glmc.label_power": 1.0,
        "glmc.resample_power": 0.2,
        "glmc.width": 256,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
        "epochs": 120,
        "batch_size": 128,
        "optimizer.learning_rate": 0.1,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.cosine_includes": "neither",
    },
    "gpaco": {
        "gpaco.augment": "crop224_flip_jitter_grey_blur",
        "gpaco.width": 128,
        "gpaco.queue": 8192,
        "gpaco.temperature": 0.2,
        "gpaco.alpha": 0.05,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
        "batch_size": 128,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.cosine_includes": "neither",
        "optimizer.learning_rate": 0.04,
    },
    # not published: the steps of CIFAR in parts of the epochs
    "ib": {
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.milestones": (100, 160, 180),
        "optimizer.schedule.decay": 0.01,
    },
    "lade": {
        "lade.alpha": 0.05,
        "lade.penalty": 0.5,
        "lade.weighted_by": "class",
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
    },
    # the strong view is that of ImageNet-LT
    "mdcs": {
        "model.backbone": "ride_resnet50",
        "mdcs.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
        "epochs": 400,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 2e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (200, 300, 380),
        "optimizer.schedule.decay": 0.1,
    },
    "mislas": {
        "mix.alpha": 0.2,
        "mislas.smooth_head": 0.3,
        "mislas.smooth_tail": 0.0,
        "mislas.classifier_rate": 0.05,
        "batch_size": 256,
        "optimizer.learning_rate": 0.1,
        "optimizer.schedule.cosine_includes": "start",
    },
    "paco": {
        "paco.augment": "crop224_flip_jitter_grey_blur",
        "paco.width": 128,
        "paco.queue": 8192,
        "paco.temperature": 0.2,
        "paco.alpha": 0.05,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
        "batch_size": 128,
        "optimizer.learning_rate": 0.02,
        "optimizer.schedule.warmup_epochs": 10,
        "optimizer.schedule.cosine_includes": "neither",
    },
    "proco": {
        "proco.augment": "crop224_flip_simclr",
        "proco.classifier": "cosine",
        "proco.temperature": 0.07,
        "proco.width": 1024,
        "proco.hidden": 0,
        "data.augment": "crop224_flip_jitter_randaugment_n2_m10_std0.5",
        "epochs": 90,
        "batch_size": 256,
        "optimizer.schedule.cosine_includes": "neither",
    },
    "sade": {
        "model.backbone": "ride_resnet50",
        "sade.tau": 1.0,
        "epochs": 100,
        "optimizer.nesterov": True,
        "optimizer.weight_decay": 2e-4,
        "optimizer.schedule.name": "step",
        "optimizer.schedule.warmup_epochs": 5,
        "optimizer.schedule.milestones": (60, 80),
        "optimizer.schedule.decay": 0.1,
    },
    # ours: not published for this data set
    "shike": {
        "model.backbone": "shike_resnet50",
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    # not published: as CIFAR-100-LT
    "vs": {
        "vs.gamma": 0.05,
        "vs.tau": 0.75,
    },
    # not published: the second stage's rate by the batch size
    "weight_balancing": {
        "second_stage_optimizer.learning_rate": 0.08,
    },
}


def get_config(arg=None):
    config = new_config("balanced_softmax", recipe="inat2018", family="recent")
    large_runs(config)
    config.data.update(name="inat2018", imbalance=1.0, augment="crop224_flip")
    config.model.backbone = "resnet50"
    config.epochs = 200
    config.batch_size = 512
    config.optimizer.update(learning_rate=0.2, momentum=0.9, weight_decay=1e-4)
    config.optimizer.schedule.update(name="cosine", unit="epoch", cosine_includes="end")
    return with_words(config, arg, recent_words(RECIPES))
