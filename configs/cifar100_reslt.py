"""ResLT (Cui et al., 2022) on CIFAR-100-LT (imbalance 100), ResNet-32, 200 epochs.

python -m ltjax.main --config=configs/cifar100_reslt.py --workdir=runs/cifar100_reslt --config.data.dir=DIR

Arguments: ":short" (ten epochs), ":imbalance=50", ":alpha=0.9" (figure 5), ":groups=2" to 5 (table 9), ":width=2"
(figure 4), ":experts=3" (RIDE's backbone), ":strong" (mixup and AutoAugment), ":long" (400 epochs), ":variant=a" to e
(figure 2), ":variant=baseline" (section 3.1), ":variant=grouped_conv" and "separate_conv" (figure 7).

The paper reports 45.34 % (imbalance 50: 49.98, 10: 60.79), 48.21 % with ":strong", 49.73 % with ":experts=3" (table 5),
at 200 epochs; not measured here yet. ":short" on two CPU cores, last epoch, many / medium / few / all (%): seed 0 26.1
/ 28.7 / 8.0 / 21.6.
"""

from ltjax.methods.configure import new_config, with_words
from ltjax.methods.reslt.settings import experts_on
from ltjax.settings.config_file import cifar_runs

WORDS = {
    "experts": experts_on("ride_resnet32"),
    "strong": {"reslt.mixup": 1.0, "data.augment": "autoaugment_flip"},
}


def get_config(arg=None):
    config = new_config("reslt", recipe="cifar100")
    cifar_runs(config)
    config.data.update(name="cifar100", imbalance=100.0, augment="pad_crop_flip")
    config.model.backbone = "resnet32"
    config.epochs = 200
    config.batch_size = 128
    config.optimizer.update(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    config.optimizer.schedule.update(
        name="step", unit="epoch", warmup_epochs=5, warmup_start=1 / 3, milestones=(160, 180), decay=0.1
    )
    config.evaluation.update(index_boundaries=(35, 70))
    # alpha by imbalance factor: 0.995 at 100, 0.99 at 50, 0.72 at 10 (ltjax/methods/reslt/settings.py)
    config.reslt.update(boundaries=(35, 70))
    return with_words(config, arg, WORDS)
