"""The methods since 2021 on MNIST-5k-LT (imbalance 40), ResNet-8, 20 epochs.

python -m ltjax.main --config=configs/mnist5k_recent.py:balanced_softmax --workdir=runs/recent

The word after the colon is one of: balanced_softmax, bcl, cmo, disalign, gcl, glmc, gpaco, ib, lade, mdcs, mislas,
paco, proco, sade, shike, vs, weight_balancing.
Further words: ":balanced_softmax,short", and so on.
The settings are those of the authors for CIFAR, the training is that of mnist5k_ce.py.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.recent import recent_words

# method, in alphabetical order -> settings that differ from the recipe below
RECIPES = {
    "gcl": {
        "second_stage_optimizer.learning_rate": 0.008,
    },
    "gpaco": {
        "epochs": 20,
    },
    # the steps of CIFAR in parts of the epochs
    "ib": {
        "optimizer.schedule.name": "step",
        "optimizer.schedule.unit": "epoch",
        "optimizer.schedule.milestones": (10, 16, 18),
        "optimizer.schedule.decay": 0.01,
    },
    "mdcs": {"model.backbone": "ride_resnet8", "mdcs.distillation_warmup": 1},
    "paco": {
        "epochs": 20,
    },
    "sade": {"model.backbone": "ride_resnet8"},
    "shike": {
        "model.backbone": "shike_resnet8",
        "second_stage_epochs": 5,
        "second_stage_optimizer.schedule.warmup_epochs": 0,
    },
    "weight_balancing": {
        "second_stage_optimizer.learning_rate": 0.01,
    },
}


def get_config(arg=None):
    config = new_config("balanced_softmax", recipe="mnist5k", family="recent")
    config.data.update(name="mnist5k", imbalance=40.0, augment="pad_crop")
    config.model.backbone = "resnet8"
    config.epochs = 20
    config.batch_size = 64
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(name="cosine", unit="step", warmup_epochs=2)
    config.evaluation.update(every_epochs=5)
    config.log_every_steps = 6
    return with_words(config, arg, recent_words(RECIPES))
