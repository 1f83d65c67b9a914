"""ResLT (Cui et al., 2022) on CIFAR-10-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar10_reslt.py --workdir=runs/cifar10_reslt --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":alpha=0.9" (figure 5), ":groups=2" to 5 (table 9), ":width=2"
(figure 4), ":experts=3" (RIDE's backbone), ":strong" (mixup and AutoAugment), ":long" (400 epochs), ":variant=a" to e
(figure 2), ":imbalance=50,variant=baseline" (table 1), ":variant=grouped_conv" and "separate_conv" (figure 7).

The paper reports 80.44 % (imbalance 50: 83.46, 10: 89.06), 82.40 % with ":strong" (table 5); not measured here yet.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.reslt.settings import experts_on
from ltjax.settings.config_file import cifar_runs

WORDS = {
    "experts": experts_on("ride_resnet32"),
    "strong": {"reslt.mixup": 1.0, "data.augment": "autoaugment_flip"},
}


def get_config(arg=None):
    config = new_config("reslt", recipe="cifar10")
    cifar_runs(config)
    config.data.update(name="cifar10", imbalance=100.0, augment="pad_crop_flip")
    config.model.backbone = "resnet32"
    config.epochs = 200
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(
        name="step", unit="epoch", warmup_epochs=5, warmup_start=1 / 3, milestones=(160, 180), decay=0.1
    )
    config.evaluation.update(index_boundaries=(3, 6))
    # alpha by imbalance factor: 0.998 at 100, 0.998 at 50, 0.96 at 10 (ltjax/methods/reslt/settings.py)
    config.reslt.update(boundaries=(2, 4))
    return with_words(config, arg, WORDS)
